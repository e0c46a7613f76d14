"""Deaths, wrapped around ports: the process kills itself at a named point, as `kill -9` or a power cut would.

Nothing is cleaned up and nothing is flushed: what the next process finds is what was durable. Product code has no hooks
for this: a wrapper passes its points, and what happens inside a SQLite transaction is seen from the connection.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Any
from unittest import mock

from headwater.embedding.port import Description, Embedded, Embedder, Purpose
from headwater.indexes.port import IndexWriter
from headwater.log.port import LogReader, LogWriter, SourcePosition
from headwater.model.change import Outgoing
from headwater.model.generation import Floor, Generation, Position
from headwater.model.manifest import Answer, Manifest, Mark, Write
from headwater.model.receipt import Settlement
from headwater.testing.passing import PassingReader


class Point(StrEnum):
    """Where a process may die. `inside` is a statement of the transaction, its commit included."""

    APPEND_INSIDE = "append-inside"
    APPENDED = "appended"
    EMBEDDING = "embedding"
    EMBEDDED = "embedded"
    APPLY_INSIDE = "apply-inside"
    APPLIED = "applied"
    SETTLE_INSIDE = "settle-inside"
    SETTLED = "settled"


class Death:
    """Kills this process the `nth` time that `point` is passed. `last_words` is called just before."""

    def __init__(self, point: Point | None, nth: int, last_words: Callable[[Point], None]) -> None:
        self._point = point
        self._left = nth
        self._last_words = last_words

    def __repr__(self) -> str:
        return f"Death({self._point!r}, {self._left} times away)"

    def arm(self, point: Point, nth: int) -> None:
        """Die there instead, counted from now."""
        self._point, self._left = point, nth

    def passes(self, point: Point) -> None:
        """The process is at this point."""
        if point is not self._point:
            return
        self._left -= 1
        if self._left == 0:
            self._last_words(point)
            os.kill(os.getpid(), signal.SIGKILL)


class CrashingReader(PassingReader):
    """A log reader that dies after it has settled."""

    def __init__(self, inner: LogReader, death: Death) -> None:
        super().__init__(inner)
        self._death = death

    async def settle(self, settlement: Settlement) -> None:
        await self.inner.settle(settlement)
        self._death.passes(Point.SETTLED)


class CrashingWriter:
    """A log writer that dies when all is durable, and nobody was told."""

    def __init__(self, inner: LogWriter, death: Death) -> None:
        self._inner = inner
        self._death = death

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        await self._inner.append(changes, position)
        self._death.passes(Point.APPENDED)

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        return await self._inner.position(source)

    async def close(self) -> None:
        await self._inner.close()


class CrashingEmbedder:
    """An embedder that dies before or after it has embedded."""

    def __init__(self, inner: Embedder, death: Death) -> None:
        self._inner = inner
        self._death = death

    def describe(self) -> Description:
        return self._inner.describe()

    async def open(self) -> None:
        await self._inner.open()

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        self._death.passes(Point.EMBEDDING)
        embedded = await self._inner.embed(texts, purpose)
        self._death.passes(Point.EMBEDDED)
        return embedded

    async def close(self) -> None:
        await self._inner.close()


class CrashingIndexWriter:
    """An index that dies when writes are durable in it, and the log does not know of them."""

    def __init__(self, inner: IndexWriter, death: Death) -> None:
        self._inner = inner
        self._death = death

    async def manifests(self, ids: Sequence[str]) -> dict[str, Manifest]:
        return await self._inner.manifests(ids)

    async def vectors(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self._inner.vectors(digests)

    async def apply(self, writes: Sequence[Write | Mark], positions: Sequence[Position] = ()) -> list[Answer]:
        answers = await self._inner.apply(writes, positions)
        if writes:
            self._death.passes(Point.APPLIED)
        return answers

    async def purge(self, floors: Sequence[Floor]) -> int:
        return await self._inner.purge(floors)

    async def generation(self) -> Generation:
        return await self._inner.generation()

    async def close(self) -> None:
        await self._inner.close()


#: Told a connection and the statement that it is about to run. What it raises, the statement raises.
Told = Callable[[sqlite3.Connection, str], None]


class _Watched(sqlite3.Connection):
    """A connection that tells of each statement first; of `executemany` once a row."""

    told: Told

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self.told(self, sql)
        return super().execute(sql, *arguments)

    def executemany(self, sql: str, rows: Iterable[Any], /) -> sqlite3.Cursor:
        return super().executemany(sql, self._telling(sql, rows))

    def _telling(self, sql: str, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            self.told(self, sql)
            yield row


@contextmanager
def statements(told: Told) -> Iterator[None]:
    """Watch the statements of all SQLite connections that are made meanwhile, for as long as they live."""
    connect = sqlite3.connect

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        class Watched(_Watched):
            pass

        Watched.told = staticmethod(told)
        return connect(*arguments, factory=Watched, **options)

    with mock.patch.object(sqlite3, "connect", watched):
        yield


_WRITES = re.compile(r"\s*(?:INSERT|REPLACE|UPDATE|DELETE)\b.*?\b((?:log|index)_\w+)", re.DOTALL)
_TABLES = {
    **dict.fromkeys(("log_record", "log_partition", "log_source", "log_source_entry"), Point.APPEND_INSIDE),
    **dict.fromkeys(("index_document", "index_chunk", "index_position"), Point.APPLY_INSIDE),
    **dict.fromkeys(
        ("log_receipt", "log_document", "log_chain", "log_outcome", "log_usage", "log_dead", "log_offset"),
        Point.SETTLE_INSIDE,
    ),
}


def written(sql: str) -> Point | None:
    """Tell which transaction a statement belongs to; None for one that writes nothing of these."""
    found = _WRITES.match(sql)
    return _TABLES.get(found.group(1)) if found else None


def passing(death: Death) -> Told:
    """Return what passes the `inside` points, for `statements`."""
    inside: dict[int, Point] = {}

    def told(connection: sqlite3.Connection, sql: str) -> None:
        if sql.startswith("BEGIN"):
            inside.pop(id(connection), None)
            return
        point = written(sql) or inside.get(id(connection))
        if point is not None:
            inside[id(connection)] = point
            death.passes(point)

    return told
