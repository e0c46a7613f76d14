"""The log in a SQLite file: reading for a group, writing, history. What was settled stands in `sqlite_ledger`.

Each object has its own connections and threads, so that a publisher never waits for the worker's loop, nor the other
way round. A stream is made on its first use; its number of partitions is fixed then.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from headwater.clock import Clock, Ids
from headwater.errors import Halt, Lost
from headwater.log.port import Batch, SourcePosition, Watermarks
from headwater.log.rules import partition_of, take_turns
from headwater.log.sqlite_books import Books
from headwater.log.sqlite_ledger import SqliteLedger, SqliteRegistry
from headwater.log.sqlite_schema import LogFile, make_stream, open_stream
from headwater.model.change import Outgoing, Record
from headwater.model.receipt import Settlement

#: How often a waiting poll looks whether anybody wrote.
STEP_S = 0.04
#: How much one step of reading history holds.
PAGE_RECORDS = 500
PAGE_BYTES = 4 << 20

_HEADERS = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])
_READ = (
    "SELECT partition, offset, key, value, time_us, headers FROM log_record"
    " WHERE stream = ? AND partition = ? AND offset >= ? AND offset < ? ORDER BY offset LIMIT ?"
)
_NO_END = (1 << 63) - 1


class SqliteLog:
    """One file's log: makes readers, writers and the rest. Holds nothing open itself."""

    def __init__(self, path: Path, clock: Clock, ids: Ids, *, create: bool = True) -> None:
        self._file = LogFile(path, clock, ids, create)

    def __repr__(self) -> str:
        return f"SqliteLog({str(self._file.path)!r})"

    def reader(self, stream: str, group: str, generation: int, partitions: int) -> SqliteReader:
        """Return a new reader of a group. Its first poll takes the group over from whoever had it."""
        return SqliteReader(self._file, stream, group, generation, partitions)

    def writer(self, stream: str, partitions: int) -> SqliteWriter:
        """Return a new writer."""
        return SqliteWriter(self._file, stream, partitions)

    def history(self, stream: str, group: str, partitions: int) -> SqliteHistory:
        """Return a stream's history; `group` is the one whose committed offsets it tells."""
        return SqliteHistory(self._file, stream, group, partitions)

    def ledger(self, stream: str, generation: int) -> SqliteLedger:
        """Return what was settled in one index generation."""
        return SqliteLedger(self._file, stream, generation)

    def registry(self) -> SqliteRegistry:
        """Return the registry of all streams."""
        return SqliteRegistry(self._file)


class _Wait:
    """One poll's wait, as its thread sees it. `changed` ends a step early; `over` ends the wait."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self.over = False

    def end(self) -> None:
        self.over = True
        self.changed.set()


class _Found(NamedTuple):
    """What one look brought."""

    records: list[Record]
    lost: bool = False


class SqliteReader:
    """A LogReader. One reader at a time has the group, with all its partitions: the one whose first poll came last.

    Polls and settlements have a connection each, so that neither waits for the other.
    """

    def __init__(self, file: LogFile, stream: str, group: str, generation: int, partitions: int) -> None:
        self._clock = file.clock
        self._feed = file.open()
        self._books = file.open()
        self._name = stream
        self._group = group
        self._generation = generation
        self._partitions = partitions
        self._stream = 0
        self._holder = 0  # 0 until the first poll; never a reader's number
        self._next: dict[int, int] = {}
        self._wait = _Wait()
        self._closed = False
        self._turn = 0

    def __repr__(self) -> str:
        return f"SqliteReader({self._name!r}, {self._group!r}, generation {self._generation}, next {self._next})"

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        if self._closed:
            return Batch()
        assigned = {} if self._holder else await self._join()
        found = await self._watch(max_records, max_bytes, 0 if assigned else wait_s)
        revoked: frozenset[int] = frozenset()
        if found.lost:
            revoked, self._next = frozenset(self._next), {}
        # Only now, on the loop: a poll that was cancelled has read nothing.
        for record in found.records:
            self._next[record.partition] = record.offset + 1
        return Batch(found.records, assigned, revoked)

    async def _join(self) -> dict[int, int]:
        self._stream, self._holder, self._next = await self._feed.write(self._take_over)
        return dict(self._next)

    def _take_over(self, connection: Connection) -> tuple[int, int, dict[int, int]]:
        stream = make_stream(connection, self._name, self._partitions)
        holder = connection.execute(
            "INSERT INTO log_group VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET holder = holder + 1 RETURNING holder",
            (stream, self._group),
        ).fetchone()[0]
        marks = _watermarks(connection, stream, self._group)
        return stream, holder, {partition: mark.committed for partition, mark in marks.items()}

    async def _watch(self, max_records: int, max_bytes: int, wait_s: float) -> _Found:
        """Look, and look again whenever somebody wrote, until something is found or the time is over."""
        if self._closed:  # while it joined
            return _Found([])
        wait = self._wait = _Wait()
        self._turn += 1
        deadline = self._clock.monotonic() + wait_s

        def watch(connection: Connection) -> _Found:
            seen = None
            while not wait.over:
                wait.changed.clear()
                version = connection.execute("PRAGMA data_version").fetchone()[0]
                found = self._look(connection, max_records, max_bytes) if version != seen else None
                if found and (found.records or found.lost):
                    return found
                left_s = deadline - self._clock.monotonic()
                if left_s <= 0:
                    break
                seen = None if wait.changed.wait(min(STEP_S, left_s)) else version
            return _Found([])

        try:
            return await self._feed.wait(watch)
        except asyncio.CancelledError:
            wait.end()
            raise

    def _look(self, connection: Connection, max_records: int, max_bytes: int) -> _Found:
        if self._next and not self._holds(connection):
            return _Found([], lost=True)
        wanted = sorted(self._next)
        if not wanted:
            return _Found([])

        def fetch(partition: int, limit: int) -> Iterator[Record]:
            rows = connection.execute(_READ, (self._stream, partition, self._next[partition], _NO_END, limit))
            return map(_record, rows)

        first = self._turn % len(wanted)
        return _Found(take_turns(wanted[first:] + wanted[:first], fetch, max_records, max_bytes))

    def _holds(self, connection: Connection) -> bool:
        row = connection.execute(
            "SELECT holder FROM log_group WHERE stream = ? AND name = ?", (self._stream, self._group)
        ).fetchone()
        return row is not None and row[0] == self._holder

    async def settle(self, settlement: Settlement) -> None:
        if not self._stream:
            self._stream = await open_stream(self._books, self._name, self._partitions)
        now_us = self._clock.now_us()

        def write(connection: Connection) -> None:
            if settlement.frontier and not self._holds(connection):
                raise Lost(frozenset(settlement.frontier))
            if unknown := frozenset(settlement.frontier) - frozenset(range(self._partitions)):
                raise Lost(unknown)
            Books(connection, self._stream, self._generation).settle(settlement.receipts, settlement.usage, now_us)
            connection.executemany(
                "INSERT INTO log_offset VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET committed = max(committed, excluded.committed)",
                [(self._stream, self._group, *item) for item in settlement.frontier.items()],
            )

        await self._books.write(write)

    async def close(self) -> None:
        self._closed = True
        self._wait.end()
        await self._feed.close()
        await self._books.close()


class _OfStream:
    """A connection of its own, and the number of its stream, looked up when it is first needed."""

    def __init__(self, file: LogFile, stream: str, partitions: int) -> None:
        self._file = file.open()
        self._name = stream
        self._partitions = partitions
        self._stream = 0

    async def close(self) -> None:
        await self._file.close()

    async def _opened(self) -> int:
        if not self._stream:
            self._stream = await open_stream(self._file, self._name, self._partitions)
        return self._stream


class SqliteWriter(_OfStream):
    """A LogWriter."""

    def __init__(self, file: LogFile, stream: str, partitions: int) -> None:
        super().__init__(file, stream, partitions)
        self._clock = file.clock

    def __repr__(self) -> str:
        return f"SqliteWriter({self._name!r})"

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        stream = await self._opened()

        def write(connection: Connection) -> None:
            if position is not None:
                _move(connection, stream, position)
            _append(connection, stream, self._partitions, changes, self._clock.now_us())

        await self._file.write(write)

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        stream = await self._opened()

        def read(connection: Connection) -> tuple[int, dict[bytes, bytes]]:
            entries = connection.execute(
                "SELECT key, value FROM log_source_entry WHERE stream = ? AND source = ?", (stream, source)
            )
            return _serial(connection, stream, source), dict(entries.fetchall())

        return await self._file.read(read)


class SqliteHistory(_OfStream):
    """A LogHistory."""

    def __init__(self, file: LogFile, stream: str, group: str, partitions: int) -> None:
        super().__init__(file, stream, partitions)
        self._group = group

    def __repr__(self) -> str:
        return f"SqliteHistory({self._name!r})"

    async def identity(self) -> str:
        def read(connection: Connection) -> str:
            return str(connection.execute("SELECT identity FROM log_file").fetchone()[0])

        return await self._file.read(read)

    async def watermarks(self) -> dict[int, Watermarks]:
        stream = await self._opened()
        return await self._file.read(lambda connection: _watermarks(connection, stream, self._group))

    async def marker_life_s(self) -> float | None:
        return None

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        stream = await self._opened()

        def page(connection: Connection) -> list[Record]:
            rows = connection.execute(_READ, (stream, partition, start, end, PAGE_RECORDS))
            return take_turns([partition], lambda _partition, _limit: map(_record, rows), PAGE_RECORDS, PAGE_BYTES)

        while records := await self._file.read(page):
            for record in records:
                yield record
            start = records[-1].offset + 1


def _record(row: tuple[int, int, bytes, bytes | None, int, bytes | None]) -> Record:
    partition, offset, key, value, time_us, headers = row
    return Record(partition, offset, key, value, time_us, _HEADERS.decode(headers) if headers else ())


def _watermarks(connection: Connection, stream: int, group: str) -> dict[int, Watermarks]:
    """Return all partitions' bounds. A group that never committed begins at the low one."""
    rows = connection.execute(
        "SELECT p.partition, p.low, p.high, coalesce(o.committed, p.low) FROM log_partition p LEFT JOIN log_offset o"
        " ON o.stream = p.stream AND o.partition = p.partition AND o.name = ? WHERE p.stream = ? ORDER BY p.partition",
        (group, stream),
    )
    return {row[0]: Watermarks(*row[1:]) for row in rows}


def _append(connection: Connection, stream: int, partitions: int, changes: Sequence[Outgoing], now_us: int) -> None:
    heads = dict(connection.execute("SELECT partition, high FROM log_partition WHERE stream = ?", (stream,)).fetchall())
    rows = []
    for change in changes:
        partition = partition_of(change.key, partitions)
        headers = msgspec.msgpack.encode(change.headers) if change.headers else None
        rows.append((stream, partition, heads[partition], now_us, change.key, change.value, headers))
        heads[partition] += 1
    connection.executemany("INSERT INTO log_record VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.executemany(
        "UPDATE log_partition SET high = ? WHERE stream = ? AND partition = ?",
        [(high, stream, partition) for partition, high in heads.items()],
    )


def _serial(connection: Connection, stream: int, source: str) -> int:
    row = connection.execute(
        "SELECT serial FROM log_source WHERE stream = ? AND source = ?", (stream, source)
    ).fetchone()
    return row[0] if row else 0


def _move(connection: Connection, stream: int, position: SourcePosition) -> None:
    stored = _serial(connection, stream, position.source)
    if stored != position.serial:
        raise Halt(
            "snapshot-race",
            f"source {position.source} stands at {stored}, not at {position.serial}",
            "Another instance of this source is at work: stop one of them",
        )
    connection.execute(
        "INSERT INTO log_source VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET serial = excluded.serial",
        (stream, position.source, stored + 1),
    )
    owner = (stream, position.source)
    gone = [(*owner, key) for key, value in position.entries.items() if value is None]
    kept = [(*owner, key, value) for key, value in position.entries.items() if value is not None]
    connection.executemany("DELETE FROM log_source_entry WHERE stream = ? AND source = ? AND key = ?", gone)
    connection.executemany(
        "INSERT INTO log_source_entry VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", kept
    )
