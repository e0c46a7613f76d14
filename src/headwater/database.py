"""SQLite files: opening them durably, one connection and one thread each, and what their errors mean.

The log and the embedded index stand on it; both may live in one file. A file carries a schema version for each part, so
that a file made by a newer Headwater is refused instead of misread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from headwater.errors import HeadwaterError, Retry, Unreachable

T = TypeVar("T")

#: How long a statement waits for another process's transaction before the caller is told to retry.
BUSY_TIMEOUT_MS = 10_000

#: Pages that a connection keeps: a stream has about nine of them, and only one writes at random places.
SMALL_CACHE_KIB = 2 << 10
LARGE_CACHE_KIB = 24 << 10

#: The oldest SQLite that has what the tables need: strict types.
OLDEST_SQLITE = (3, 37, 0)
_SWITCH_STEP_MS = 10

# The last connection to a file folds its write-ahead log into it. Two that close at the same time each see the other,
# and neither does: then a stopped worker's file, copied alone, would miss its newest commits. So one at a time.
_closing = threading.Lock()

_AWAY = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL}
)
_CAUSES = {
    sqlite3.SQLITE_BUSY: "locked by another process",
    sqlite3.SQLITE_LOCKED: "locked by another connection",
    sqlite3.SQLITE_PROTOCOL: "locked by other processes that open it",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk gave an input/output error",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_READONLY: "the file is read-only",
    sqlite3.SQLITE_CORRUPT: "the file is corrupt",
    sqlite3.SQLITE_NOTADB: "the file is not a SQLite database",
}
_CURES = {
    sqlite3.SQLITE_CORRUPT: "Restore it from a backup. "
    "If it holds only the index it can be built again from the log; the log itself comes only from a backup",
    sqlite3.SQLITE_NOTADB: "Check the path in the configuration",
    sqlite3.SQLITE_CANTOPEN: "Check that its folder exists and that you may write there",
    sqlite3.SQLITE_READONLY: "Check the rights of the file and of its folder",
}


class Schema(NamedTuple):
    """One part of a file: its name, its version, and the statements that make it from nothing.

    `upgrades` has, by each older version, the statements that make the next one of it.
    """

    part: str
    version: int
    statements: tuple[str, ...]
    upgrades: Mapping[int, tuple[str, ...]] = {}


class Database:
    """One connection to one SQLite file, used by one thread, so that no caller ever blocks the loop.

    Write-ahead logging, `synchronous=FULL`: a commit has been synced when it returns.
    """

    def __init__(
        self,
        path: Path,
        schema: Schema,
        *,
        create: bool = True,
        secure_delete: bool = False,
        cache_kib: int = SMALL_CACHE_KIB,
    ) -> None:
        self.path = path
        self._schema = schema
        self._create = create
        self._secure_delete = secure_delete
        self._cache_kib = cache_kib
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sqlite-{schema.part}")

    def __repr__(self) -> str:
        return f"Database({str(self.path)!r}, {self._schema.part})"

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection's thread, in one read transaction: it sees one moment."""
        return await self._run(lambda connection: _within(connection, "BEGIN", work))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection's thread, in one write transaction, durable when this returns."""
        return await self._run(lambda connection: _within(connection, "BEGIN IMMEDIATE", work))

    async def wait(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection's thread without a transaction: for waiting until something changed."""
        return await self._run(work)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def guarded() -> T:
            try:
                if self._connection is None:
                    self._connection = self._open()
                return work(self._connection)
            except sqlite3.Error as error:
                raise explain(error, self.path) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    async def close(self) -> None:
        """Close the connection and end the thread. Idempotent."""

        def close() -> None:
            if self._connection is not None:
                with _closing:
                    self._connection.close()
                self._connection = None

        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, close)
        except RuntimeError:
            return  # the thread has ended already
        self._thread.shutdown(wait=False)

    def _open(self) -> sqlite3.Connection:
        if not self._create and not self.path.exists():
            raise Unreachable(
                str(self.path),
                "there is no such file",
                "Run `headwater run` first, or check the path",
                code="nothing-yet",
            )
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise Unreachable(
                "SQLite",
                f"this Python comes with version {sqlite3.sqlite_version}, at least 3.37 is needed",
                "Use a newer Python",
                code="too-old",
            )
        connection = sqlite3.connect(self.path, timeout=0, isolation_level=None, cached_statements=256)
        try:
            if _to_wal(connection) != "wal":
                raise Unreachable(
                    str(self.path),
                    "the file system cannot hold a write-ahead log",
                    "Use a local disk",
                    code="file-unusable",
                )
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA cache_size=-{self._cache_kib}")
            connection.execute(f"PRAGMA secure_delete={'ON' if self._secure_delete else 'OFF'}")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = _version(connection, self._schema.part)
        if found is None or found < self._schema.version:
            _within(connection, "BEGIN IMMEDIATE", self._make)
        elif found > self._schema.version:
            raise Unreachable(
                str(self.path),
                f"its {self._schema.part} was made by a newer Headwater "
                f"(schema {found}, this one knows {self._schema.version})",
                "Use that version",
                code="newer-file",
            )

    def _make(self, connection: sqlite3.Connection) -> None:
        part, version, statements, upgrades = self._schema
        found = _version(connection, part)  # another process may have been faster
        if found is None:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS headwater_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL)"
            )
        else:
            statements = tuple(statement for older in range(found, version) for statement in upgrades[older])
        for statement in statements:
            connection.execute(statement)
        connection.execute("REPLACE INTO headwater_schema VALUES (?, ?)", (part, max(version, found or 0)))


def explain(error: sqlite3.Error, path: Path) -> HeadwaterError:
    """Map an error of SQLite: what may pass by itself becomes Retry, what needs a person Unreachable."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    cause = _CAUSES.get(code, str(error))
    if code in _AWAY:
        return Retry(str(path), cause)
    return Unreachable(str(path), cause, _CURES.get(code, ""), code="file-unusable")


def _version(connection: sqlite3.Connection, part: str) -> int | None:
    with closing(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'headwater_schema'")) as rows:
        if rows.fetchone() is None:
            return None
    row = connection.execute("SELECT version FROM headwater_schema WHERE part = ?", (part,)).fetchone()
    return int(row[0]) if row else None


def _to_wal(connection: sqlite3.Connection) -> str:
    """Switch to write-ahead logging, and return the mode that it is in then.

    Two that switch a new file at once can lock each other out, and then SQLite does not wait by itself: so here the
    waiting is ours, on a connection that has no busy timeout yet.
    """
    for _ in range(BUSY_TIMEOUT_MS // _SWITCH_STEP_MS):
        try:
            return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        threading.Event().wait(_SWITCH_STEP_MS / 1000)
    return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])


def _within(connection: sqlite3.Connection, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute(begin)
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result
