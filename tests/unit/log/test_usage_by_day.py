"""Usage by the day: whose days, how many, in one transaction, and a file that an earlier version made."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from headwater.clock import SystemIds
from headwater.errors import Lost
from headwater.log.memory import MemoryLog
from headwater.log.port import Totals
from headwater.log.rules import DAYS
from headwater.log.sqlite import SqliteLog
from headwater.log.sqlite_schema import VERSION
from headwater.model.receipt import Settlement, Usage, day_of
from tests.unit.log.test_memory_log import HandClock

Make = Callable[[HandClock], MemoryLog | SqliteLog]

#: The table as version 1 made it.
ONE = """CREATE TABLE log_usage (
    stream INTEGER NOT NULL, generation INTEGER NOT NULL,
    calls INTEGER NOT NULL, texts INTEGER NOT NULL, tokens INTEGER NOT NULL, reused INTEGER NOT NULL,
    PRIMARY KEY (stream, generation)
) STRICT, WITHOUT ROWID"""


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "memory":
        return lambda clock: MemoryLog(clock, SystemIds())
    return lambda clock: SqliteLog(tmp_path / "log.db", clock, SystemIds())


def test_a_settlement_belongs_to_its_day_of_utc(make: Make) -> None:
    clock = HandClock()
    clock.time_s = 20_000 * 86_400 - 1e-6  # the last microsecond of a day

    async def scenario() -> Totals:
        log = make(clock)
        reader, ledger = log.reader("s", "g", 1, 1), log.ledger("s", 1)
        await reader.settle(Settlement({}, (), Usage(tokens=1)))
        clock.time_s = 20_000 * 86_400
        await reader.settle(Settlement({}, (), Usage(tokens=2, replay_tokens=2)))
        await reader.settle(Settlement({}, (), Usage(tokens=3)))
        totals = await ledger.totals()
        for it in (reader, ledger):
            await it.close()
        return totals

    assert asyncio.run(scenario()).daily == {19_999: Usage(tokens=1), 20_000: Usage(tokens=5, replay_tokens=2)}


def test_old_days_are_in_the_sum_alone(make: Make) -> None:
    clock = HandClock()
    clock.time_s = 20_000 * 86_400.0

    async def scenario() -> Totals:
        log = make(clock)
        reader, ledger = log.reader("s", "g", 1, 1), log.ledger("s", 1)
        for _ in range(DAYS + 3):
            await reader.settle(Settlement({}, (), Usage(tokens=1)))
            clock.time_s += 86_400
        clock.time_s -= 86_400
        totals = await ledger.totals()
        for it in (reader, ledger):
            await it.close()
        return totals

    totals = asyncio.run(scenario())
    assert totals.usage == Usage(tokens=DAYS + 3)
    assert sorted(totals.daily) == list(range(20_003, 20_003 + DAYS))


def test_what_is_fenced_off_spends_nothing(make: Make) -> None:
    async def scenario() -> Totals:
        log = make(HandClock())
        zombie, heir, ledger = log.reader("s", "g", 1, 1), log.reader("s", "g", 1, 1), log.ledger("s", 1)
        for reader in (zombie, heir):
            await reader.poll(1, 1, 0)
        with pytest.raises(Lost):
            await zombie.settle(Settlement({0: 0}, (), Usage(tokens=5)))
        totals = await ledger.totals()
        for it in (zombie, heir, ledger):
            await it.close()
        return totals

    assert asyncio.run(scenario()).daily == {}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a log as version 1 made it, with usage of two generations."""
    path = tmp_path / "old.db"
    asyncio.run(settled(path, Usage()))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP INDEX log_dead_document")
        connection.execute("DROP TABLE log_usage")
        connection.execute(ONE)
        connection.executemany("INSERT INTO log_usage VALUES (1, ?, ?, 2, 3, 4)", [(1, 1), (2, 100)])
        connection.execute("UPDATE headwater_schema SET version = 1 WHERE part = 'log'")
    return path


async def settled(path: Path, usage: Usage) -> Totals:
    log = SqliteLog(path, HandClock(), SystemIds())
    reader, ledger = log.reader("s", "g", 1, 1), log.ledger("s", 1)
    await reader.settle(Settlement({}, (), usage))
    totals = await ledger.totals()
    for it in (reader, ledger):
        await it.close()
    return totals


def statements(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    return [sql for (sql,) in rows]


def test_a_file_of_version_1_loses_nothing(old: Path, tmp_path: Path) -> None:
    totals = asyncio.run(settled(old, Usage(1, 1, 1, 1, 1, 1)))
    today = day_of(HandClock().now_us())
    assert (totals.usage, totals.daily) == (Usage(2, 3, 4, 5, 1, 1), {today: Usage(1, 1, 1, 1, 1, 1)})
    with closing(sqlite3.connect(old)) as connection:
        other = connection.execute("SELECT * FROM log_usage WHERE generation = 2").fetchall()
        assert other == [(1, 2, 0, 100, 2, 3, 4, 0, 0)]
        assert connection.execute("SELECT version FROM headwater_schema WHERE part = 'log'").fetchone() == (VERSION,)
    asyncio.run(settled(tmp_path / "new.db", Usage()))
    assert statements(old) == statements(tmp_path / "new.db")
