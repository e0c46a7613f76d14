"""A throwaway configuration, and ways to put changes through it in this process."""

from __future__ import annotations

import io
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from headwater.clock import SystemClock
from headwater.engine.supervisor import End
from headwater.sources.jsonl import publish
from headwater.wiring import Site, open_site

Changes = Iterable[Mapping[str, str]]

STREAM = "bench"
CORPUS = Path("build/corpus/changes.jsonl")


def configure(folder: Path, model: str) -> Path:
    """Write a configuration with one stream without a source."""
    path = folder / "headwater.yaml"
    path.write_text(
        f"streams:\n  {STREAM}:\n    recipe:\n      embed: {{model: {model}}}\n      payload: {{title: title}}\n"
    )
    return path


@asynccontextmanager
async def opened(folder: Path, model: str) -> AsyncIterator[Site]:
    """Open a site in `folder`; close it at the end."""
    site = open_site(configure(folder, model), {})
    try:
        yield site
    finally:
        await site.close()


async def put(site: Site, changes: Changes) -> None:
    """Append changes to the log."""
    lines = io.BytesIO(b"".join(json.dumps(change).encode() + b"\n" for change in changes))
    appended, rejected = await publish(
        lines, site.writer(STREAM), SystemClock(), lambda number, reason: None, lambda appended, rejected: None
    )
    assert not rejected, f"{rejected} lines were rejected, {appended} were not"


async def settle(site: Site) -> float:
    """Run the worker until the log is settled; return the seconds it took."""
    began = time.perf_counter()
    ended = await site.worker(STREAM, lambda event, fields: None).run(once=True)
    assert ended.end is End.DONE, ended
    return time.perf_counter() - began


async def texts_embedded(site: Site) -> int:
    """Return how many texts the model was asked for so far."""
    return (await site.ledger(STREAM).totals()).usage.texts


def corpus() -> list[dict[str, str]]:
    """Return the corpus's changes."""
    with CORPUS.open() as lines:
        return [json.loads(line) for line in lines]


def first_release(changes: list[dict[str, str]]) -> list[tuple[str, str]]:
    """Return (id, text) of the documents of the first release."""
    return [(it["id"], it["text"]) for it in changes if it["release"] == changes[0]["release"]]


def copies(documents: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """Return the documents `count` times, each copy with a mark in every paragraph, so that no text stands twice."""
    return [
        (f"{number}/{name}", text.replace("\n\n", f" v{number}\n\n") + f" v{number}")
        for number in range(count)
        for name, text in documents
    ]
