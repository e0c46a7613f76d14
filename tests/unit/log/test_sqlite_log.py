"""The log in a SQLite file: its chain, its file, other processes, and files that are not what they should be."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.clock import SystemClock, SystemIds
from headwater.errors import Lost, Retry, Unreachable
from headwater.log.sqlite import SqliteLog
from headwater.log.sqlite_lock import WorkerLock
from headwater.model.change import Outgoing
from headwater.model.manifest import Outcome
from headwater.model.receipt import Receipt, Settlement
from headwater.model.version import Place, Version

WRITE = """
import asyncio, sys
from pathlib import Path
from headwater.clock import SystemClock, SystemIds
from headwater.log.sqlite import SqliteLog
from headwater.model.change import Outgoing
async def main(path, name):
    writer = SqliteLog(Path(path), SystemClock(), SystemIds()).writer("s", 2)
    for number in range(30):
        await writer.append([Outgoing(f"{name}-{number}".encode(), b"x")] * 3)
        print(number, flush=True)
    await writer.close()
asyncio.run(main(*sys.argv[1:]))
"""
LOCK = """
import sys
from pathlib import Path
from headwater.clock import SystemClock
from headwater.log.sqlite_lock import WorkerLock
lock = WorkerLock(Path(sys.argv[1]), SystemClock())
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def new_log(path: Path, **more: bool) -> SqliteLog:
    return SqliteLog(path, SystemClock(), SystemIds(), **more)


def receipt(document: str, offset: int, outcome: Outcome = Outcome.INDEXED) -> Receipt:
    return Receipt(
        document=document, version=Version(1, 0, 0, offset), place=Place(0, offset), recipe=1, outcome=outcome
    )


async def append(log: SqliteLog) -> None:
    writer = log.writer("s", 1)
    try:
        await writer.append([Outgoing(b"a", b"1")])
    finally:
        await writer.close()


def test_the_chain_can_be_followed_and_holds_no_ids(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    async def scenario() -> None:
        reader = new_log(path).reader("s", "g", 1, 1)
        await reader.settle(Settlement({}, (receipt("document-one", 0), receipt("document-two", 1))))
        await reader.settle(Settlement({}, (receipt("document-one", 0), receipt("document-one", 2))))
        await reader.close()

    asyncio.run(scenario())
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT document, body, chain FROM log_receipt ORDER BY id").fetchall()
    head = b""
    for document, body, chain in rows:
        head = hashlib.sha256(head + document + body).digest()
        assert chain == head
        assert b"document-" not in body
    assert connection.execute("SELECT length, head FROM log_chain").fetchall() == [(3, head)]
    names = dict(connection.execute("SELECT document, name FROM log_document"))
    assert [names[row[0]] for row in rows] == [b"document-one", b"document-two", b"document-one"]
    connection.close()


def test_receipts_are_found_after_the_id_was_erased(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    async def scenario() -> None:
        log = new_log(path)
        reader, ledger = log.reader("s", "g", 1, 1), log.ledger("s", 1)
        await reader.settle(Settlement({}, (receipt("a", 0),)))
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM log_document")
        connection.close()
        assert await ledger.receipts("a") == [receipt("a", 0)]
        await reader.close()
        await ledger.close()

    asyncio.run(scenario())


def test_processes_write_beside_each_other(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(path), str(name)], stdout=-3) for name in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4

    async def read() -> int:
        history = new_log(path).history("s", "g", 2)
        marks = await history.watermarks()
        for partition, mark in marks.items():
            found = [record.offset async for record in history.read(partition, 0, mark.high)]
            assert found == list(range(mark.high))
        await history.close()
        return sum(mark.high for mark in marks.values())

    assert asyncio.run(read()) == 4 * 30 * 3


def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITE, str(path), "w"], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(10):
        acknowledged = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.communicate()

    async def read() -> int:
        history = new_log(path).history("s", "g", 2)
        high = sum(mark.high for mark in (await history.watermarks()).values())
        await history.close()
        return high

    high = asyncio.run(read())
    assert high >= 3 * (acknowledged + 1)
    assert high % 3 == 0


def test_a_publisher_does_not_block_the_loop(tmp_path: Path) -> None:
    async def scenario() -> float:
        log = new_log(tmp_path / "log.db")
        writer, reader = log.writer("s", 1), log.reader("s", "g", 1, 1)
        await writer.append([])
        loop = asyncio.get_running_loop()
        publishing = asyncio.gather(*(writer.append([Outgoing(b"a", b"x" * 1000)] * 500) for _ in range(40)))
        worst_s, read = 0.0, 0
        while not publishing.done() or read < 20_000:
            start_s = loop.time()
            await asyncio.sleep(0.001)
            worst_s = max(worst_s, loop.time() - start_s)
            read += len((await reader.poll(500, 1 << 22, 0.1)).records)
        await publishing
        await writer.close()
        await reader.close()
        return worst_s

    assert asyncio.run(scenario()) < 1  # on a busy machine; about 10 ms on a quiet one


def test_closing_while_joining_and_polling_ends_quietly(tmp_path: Path) -> None:
    async def scenario() -> None:
        reader = new_log(tmp_path / "log.db").reader("s", "g", 1, 1)
        polling = asyncio.ensure_future(reader.poll(9, 999, 30))
        await asyncio.sleep(0)
        await reader.close()
        batch = await asyncio.wait_for(polling, 5)
        assert not batch.records
        assert not (await reader.poll(9, 999, 30)).records

    asyncio.run(scenario())


def test_a_missing_file_is_not_made_for_those_who_only_look(tmp_path: Path) -> None:
    path = tmp_path / "log.db"

    async def scenario() -> None:
        ledger = new_log(path, create=False).ledger("s", 1)
        with pytest.raises(Unreachable, match="no such file"):
            await ledger.totals()
        await ledger.close()

    asyncio.run(scenario())
    assert not path.exists()


def test_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    def broken(content: bytes) -> Path:
        path = tmp_path / "broken.db"
        path.write_bytes(content)
        return path

    async def fails(path: Path, match: str) -> None:
        with pytest.raises(Unreachable, match=match):
            await append(new_log(path))

    async def scenario() -> None:
        whole = tmp_path / "whole.db"
        await append(new_log(whole))
        await fails(broken(b"this is a text, not a database" * 100), "not a SQLite database")
        await fails(broken(whole.read_bytes()[:4096] + b"\xff" * 200_000), "corrupt")
        await fails(tmp_path / "no" / "such" / "folder.db", "cannot be opened")
        await fails(tmp_path, "cannot be opened")
        with sqlite3.connect(whole) as connection:
            connection.execute("UPDATE headwater_schema SET version = 99")
        connection.close()
        await fails(whole, "newer Headwater")

    asyncio.run(scenario())


def test_a_locked_file_is_worth_a_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.database.BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "log.db"

    async def scenario() -> None:
        await append(new_log(path))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Retry, match="locked"):
            await append(new_log(path))
        other.execute("ROLLBACK")
        other.close()
        await append(new_log(path))

    asyncio.run(scenario())


def test_a_zombie_in_another_object_is_fenced_even_without_the_lock(tmp_path: Path) -> None:
    async def scenario() -> None:
        one, two = (new_log(tmp_path / "log.db").reader("s", "g", 1, 1) for _ in range(2))
        await one.poll(9, 999, 0)
        await two.poll(9, 999, 0)
        with pytest.raises(Lost):
            await one.settle(Settlement({0: 0}))
        await two.settle(Settlement({0: 0}, (receipt("a", 0),)))
        await one.close()
        await two.close()

    asyncio.run(scenario())


def test_one_worker_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    first = subprocess.Popen([sys.executable, "-c", LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == b"held\n"
    lock = WorkerLock(path, SystemClock())
    with pytest.raises(Unreachable, match=f"process id {first.pid} on "):
        lock.acquire()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    with lock:
        assert str(os.getpid()) in lock.path.read_text()
        with pytest.raises(Unreachable, match=str(os.getpid())):
            WorkerLock(path, SystemClock()).acquire()
    lock.release()
    assert lock.path.exists()
    with WorkerLock(path, SystemClock()):
        pass


def test_a_lock_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="cannot be opened"):
        WorkerLock(tmp_path / "missing" / "log.db", SystemClock()).acquire()


def test_many_may_make_the_same_file_at_once(tmp_path: Path) -> None:
    async def once(number: int) -> set[str]:
        histories = [new_log(tmp_path / f"{number}.db").history("s", "g", 1) for _ in range(4)]
        identities = await asyncio.gather(*(history.identity() for history in histories))
        for history in histories:
            await history.close()
        return set(identities)

    async def scenario() -> None:
        for number in range(40):
            assert len(await once(number)) == 1

    asyncio.run(scenario())


def test_waiting_for_a_locked_file_that_is_not_switched_yet_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.database.BUSY_TIMEOUT_MS", 100)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Retry, match="locked"):
        asyncio.run(append(new_log(tmp_path / "log.db")))
    other.close()
