"""A folder: how soon one edit and a burst are searchable, and what looking through a large unchanged one costs."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest import mock

from bench.report import Figure, median
from bench.site import STREAM
from headwater.clock import SystemClock
from headwater.sources import folder as folder_module
from headwater.wiring import Site, open_site

EDITS = 12
BURST = 1_000
#: They lie in a folder of so many.
FILES = 3_000
UNCHANGED = 100_000
FOLDERS = 1_000
PASSES = 3
#: Until then a time stamp is not trusted, and a file is read again.
YOUNG_S = 2.5


def _configure(folder: Path) -> Path:
    path = folder / "headwater.yaml"
    path.write_text(
        f"streams:\n  {STREAM}:\n    source: {{folder: docs}}\n    recipe:\n      embed: {{model: static}}\n"
    )
    return path


def _place(folder: Path, number: int) -> Path:
    return folder / f"docs/{number % 30}/{number}.md"


def _text(number: int, said: str) -> str:
    return f"# Note {number}\n\nThe keeper of lock {number} says: {said}.\n"


async def edit() -> list[Figure]:
    """A worker process serves; this process edits one file at a time and asks the index until it holds that."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(30):
            (folder / f"docs/{number}").mkdir(parents=True)
            _place(folder, number).write_text(_text(number, "the water is low"))
        async with _served(folder) as site:
            took = []
            for number in range(EDITS):
                await SystemClock().sleep(0.3 + 0.13 * (number % 7))
                began = time.perf_counter()
                _place(folder, number).write_text(_text(number, "the water is rising"))
                await _until(site, "rising", number + 1, began)
                took.append(time.perf_counter() - began)
    # Half a second of it is waiting until nobody writes to the file any more.
    return [
        Figure("one file edited, until it is searchable, p50", "ms", median(took) * 1e3, target="<= 1000"),
        Figure("one file edited, until it is searchable, the slowest", "ms", max(took) * 1e3),
    ]


@asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[Site]:
    """Load the folder, and open its site beside a worker process that serves."""
    config = _configure(folder)
    command = [sys.executable, "-m", "headwater", "run", "-c", str(config)]
    subprocess.run([*command, "--once"], check=True, stderr=subprocess.DEVNULL)
    worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    site = open_site(config, {})
    try:
        await SystemClock().sleep(5)
        yield site
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
        await site.close()


async def burst() -> list[Figure]:
    """A worker process serves; this process changes files and asks the index until it holds what they say."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(30):
            (folder / f"docs/{number}").mkdir(parents=True)
        for number in range(FILES):
            _place(folder, number).write_text(_text(number, "the water is low"))
        async with _served(folder) as site:
            took = []
            for word in ("rising", "falling", "clear"):
                # Written beside and moved into their places, as editors do: a slow disk does not stretch the burst.
                for number in range(BURST):
                    (folder / str(number)).write_text(_text(number * 3, f"the water is {word}"))
                began = time.perf_counter()
                for number in range(BURST):
                    (folder / str(number)).replace(_place(folder, number * 3))
                moved = time.perf_counter() - began
                assert moved < 1, f"it took {moved:.2f} s to change the files"
                await _until(site, word, BURST, began)
                took.append(time.perf_counter() - began)
    return [Figure("1,000 files changed within a second, until all are searchable", "s", median(took), target="<= 10")]


async def _until(site: Site, word: str, count: int, began: float) -> None:
    """Wait until the index shows so many documents that say so."""
    while await _holding(site, word) < count:
        assert time.perf_counter() - began < 60, "they never became searchable"
        await SystemClock().sleep(0.01)


async def _holding(site: Site, word: str) -> int:
    count = 0
    async for stored in site.index(STREAM).scan():
        count += stored.manifest.shown and any(word in text for text, _ in stored.rows.values())
    return count


async def rescan() -> list[Figure]:
    """The source alone, over a log that holds all of the folder already."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FOLDERS):
            inner = folder / f"docs/{number // 50}/{number}"
            inner.mkdir(parents=True)
            for each in range(UNCHANGED // FOLDERS):
                (inner / f"{each}.md").write_text(f"{number} {each}\n")
        site = open_site(_configure(folder), {})
        try:
            source = site.source(STREAM, lambda event, fields: None)
            assert source is not None
            await SystemClock().sleep(YOUNG_S)
            began = time.perf_counter()
            first = await source.synchronise()
            loaded = time.perf_counter() - began
            assert first.upserts == UNCHANGED
            took = []
            with mock.patch.object(folder_module, "read_file") as opened:
                for _ in range(PASSES):
                    began = time.perf_counter()
                    again = await source.synchronise()
                    took.append(time.perf_counter() - began)
                    assert not again.upserts, again
        finally:
            await site.close()
    return [
        Figure("100,000 files read into the log", "s", loaded),
        Figure("100,000 unchanged files looked through", "s", median(took), target="<= 5"),
        Figure("of them opened", "files", float(opened.call_count), target="<= 0"),
    ]
