"""A full disk: the stream waits and says so, nothing becomes a dead letter, and it goes on by itself."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headwater.engine.supervisor import End
from headwater.model.receipt import DeadState
from headwater.observability.signals import Event
from headwater.testing.crashing import statements
from tests.failures.faults import Fault
from tests.failures.workload import upsert
from tests.failures.world import GROUP, PARTITIONS, STREAM, Sqlite, World
from tests.integration.cli.process import Cli, until, wait_for

DOCUMENTS = 40
#: A guard against hanging.
PATIENCE_S = 60.0


class Limit:
    """Keeps one file from growing, as a full disk does: SQLite itself answers SQLITE_FULL."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(path)) as connection:
            self._pages = connection.execute("PRAGMA page_count").fetchone()[0]
        self.full = True

    def told(self, connection: sqlite3.Connection, sql: str) -> None:
        name = connection.execute("PRAGMA database_list").fetchone()[2] if sql.startswith("BEGIN") else ""
        if name == str(self._path):
            connection.execute(f"PRAGMA max_page_count = {self._pages if self.full else 1 << 30}")


@pytest.mark.parametrize("name", ["log.db", "index.db"])
def test_the_stream_waits_and_goes_on(name: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(Sqlite(tmp_path))
        await world.begin()
        writer = world.adapters.log.writer(STREAM, PARTITIONS)
        await writer.append([upsert(f"big {i}", f"{i} " + "word " * 500) for i in range(DOCUMENTS)])
        await writer.close()
        world.events.clear()
        limit = Limit(tmp_path / name)
        with statements(limit.told):
            working = asyncio.ensure_future(world.work(Fault(), source=False))
            async with asyncio.timeout(PATIENCE_S):
                while Event.OUTAGE_BEGAN not in kinds(world) and not working.done():
                    await asyncio.sleep(0.01)
            assert not working.done(), "it did not wait"
            began = next(fields for event, fields in world.events if event is Event.OUTAGE_BEGAN)
            assert began == {
                "stream": STREAM,
                "dependency": str(tmp_path / name),
                "cause": "the disk is full",
                "then": "waiting until it is back",
            }
            await asyncio.sleep(0.2)
            assert Event.OUTAGE_ENDED not in kinds(world)
            limit.full = False
            async with asyncio.timeout(PATIENCE_S):
                ended = await working
        assert ended.end is End.DONE
        assert Event.OUTAGE_ENDED in kinds(world)
        await everything_is_there(world)

    asyncio.run(scenario())


def kinds(world: World) -> list[Event]:
    return [event for event, _ in world.events]


async def everything_is_there(world: World) -> None:
    reader, log = world.adapters.reader(), world.adapters.log
    found = {stored.manifest.id async for stored in reader.scan() if stored.manifest.shown}
    assert {f"big {i}" for i in range(DOCUMENTS)} <= found
    ledger, history = log.ledger(STREAM, 1), log.history(STREAM, GROUP, PARTITIONS)
    letters = await ledger.dead(frozenset({DeadState.OPEN}))
    assert not [letter for letter in letters if letter.document.startswith("big")]
    assert all(mark.committed == mark.high for mark in (await history.watermarks()).values())
    for port in (reader, ledger, history):
        await port.close()


# --- the same with a file system that is really full, and real processes

CONFIG = """\
log: sqlite:///{log}
streams:
  notes:
    recipe: {{embed: {{model: hash}}}}
    index: sqlite:///{index}
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def lines(first: int, count: int, words: int = 200) -> str:
    return "".join(
        json.dumps({"id": f"n{i}", "text": f"{i} secret-marker " + "word " * words}) + "\n"
        for i in range(first, first + count)
    )


def fill(folder: Path) -> Path:
    """Leave no space."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        for size in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    os.write(file.fileno(), bytes(size))
                except OSError:
                    break
    return filler


@pytest.mark.parametrize("full", ["log", "index"])
def test_real_processes_on_a_full_file_system(full: str, cli: Cli, small_disk: Path) -> None:
    beside = {"log": "log.db", "index": "index.db"} | {full: f"disk/{full}.db"}
    cli.write("headwater.yaml", CONFIG.format(**beside))
    cli("publish", "notes", stdin=lines(0, 5))
    cli("run", "--once")
    worker = cli.start("run")
    wait_for(worker, "stream.started")
    if full == "log":
        # What fits is appended, what does not is refused whole, and said.
        filler = fill(small_disk)
        refused = cli("publish", "notes", stdin=lines(5, 4000), code=4)
        assert "the disk is full" in refused.stderr
        assert "changes appended before this" in refused.stderr
        assert "secret-marker" not in refused.stderr
    else:
        filler = fill(small_disk)
        cli("publish", "notes", stdin=lines(5, 400))
        wait_for(worker, 'cause="the disk is full"')
    filler.unlink()
    cli("publish", "notes", stdin=lines(5, 400))

    def lag() -> int:
        return int(cli.json("status", "--json")["streams"]["notes"]["lag"]["records"])

    until(lambda: lag() == 0, within_s=PATIENCE_S)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE_S) == 0
    assert worker.stderr is not None
    assert "secret-marker" not in worker.stderr.read()
    assert cli.json("dead", "list", "notes", "--json")["dead"] == []
    verified = cli.json("verify", "notes", "--json")
    assert verified["ok"]
    assert verified["documents"] == 405
