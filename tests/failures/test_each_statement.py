"""Each SQL statement of applying and of settling fails once: nothing partial is seen, and the work is done after all.

The errors are those of a full disk, a broken one and a lock; the transaction that they end is SQLite's own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from headwater.engine.supervisor import End
from headwater.observability.signals import Event
from headwater.testing.crashing import Point, statements, written
from tests.failures.faults import Fault
from tests.failures.world import Sqlite, World

CAUSES = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk gave an input/output error",
    sqlite3.SQLITE_BUSY: "locked by another process",
}
FILES = {Point.APPLY_INSIDE: ("index.db", "index_"), Point.SETTLE_INSIDE: ("log.db", "log_")}
#: Others write into these while the worker settles.
NOT_SETTLED = {"log_record", "log_partition", "log_source", "log_source_entry", "log_group", "log_registry"}
MOST = 1_000

connect = sqlite3.connect


class StatementFault:
    """Lets the `nth` statement of the transactions at `point` fail, and looks whether what it did is undone."""

    def __init__(self, folder: Path, point: Point, nth: int, code: int) -> None:
        name, self._prefix = FILES[point]
        self._path = folder / name
        self._point = point
        self._left = nth
        self._code = code
        self._inside: sqlite3.Connection | None = None
        self._failed: sqlite3.Connection | None = None
        self._before: list[str] = []
        self.partial: list[str] = []
        self.looked = False

    @property
    def struck(self) -> bool:
        return self._left <= 0

    def told(self, connection: sqlite3.Connection, sql: str) -> None:
        if sql.startswith(("BEGIN", "ROLLBACK")):
            self._begun(connection, sql)
            return
        if written(sql) is self._point and connection is not self._inside:
            self._inside, self._before = connection, self._visible()
        if connection is not self._inside:
            return
        self._left -= 1
        if self._left == 0:
            self._failed = connection
            error = sqlite3.OperationalError("made to fail")
            error.sqlite_errorcode = self._code
            raise error
        if sql == "COMMIT":
            self._inside = None

    def _begun(self, connection: sqlite3.Connection, sql: str) -> None:
        if connection is self._inside:
            self._inside = None
        if connection is self._failed and sql.startswith("BEGIN"):
            self._failed, self.looked = None, True
            after = self._visible()
            self.partial = [row for row in (*self._before, *after) if (row in self._before) != (row in after)]

    def _visible(self) -> list[str]:
        """Return all rows that another connection sees."""
        with closing(connect(self._path)) as other:
            tables = [row[0] for row in other.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            mine = [name for name in tables if name.startswith(self._prefix) and name not in NOT_SETTLED]
            return [f"{name} {row}" for name in mine for row in other.execute(f"SELECT * FROM {name}")]


@pytest.mark.parametrize("point", [Point.APPLY_INSIDE, Point.SETTLE_INSIDE])
def test_each_statement(point: Point) -> None:
    for nth in range(1, MOST):
        code = list(CAUSES)[nth % len(CAUSES)]
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            fault = StatementFault(Path(folder), point, nth, code)
            world, wrong = asyncio.run(play(Path(folder), fault))
        assert wrong == [], f"statement {nth} failed"
        if not fault.struck:
            print(f"{point}: {nth - 1} statements, each failed once")
            assert nth > 20, "a fault that never strikes shows nothing"
            return
        assert fault.looked, "the call was never made again"
        assert fault.partial == [], f"statement {nth} failed, and a part of its transaction was seen"
        causes = [fields["cause"] for event, fields in world.events if event is Event.OUTAGE_BEGAN]
        assert causes == [CAUSES[code]]
        assert Event.OUTAGE_ENDED in [event for event, _ in world.events]
    raise AssertionError("there is no end of statements")


async def play(folder: Path, fault: StatementFault) -> tuple[World, list[str]]:
    world = World(Sqlite(folder))
    await world.lose_index()
    world.events.clear()
    with statements(fault.told):
        ended = await world.work(Fault())
    wrong = await world.violations()
    if ended.end is not End.DONE:
        wrong.append(f"the worker ended as {ended.end}: {ended.reason}")
    return world, wrong
