"""The look into the ledgers: what it learns, what it tells, and what it does while the log is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headwater.clock import SystemIds
from headwater.embedding.spending import Spending
from headwater.embedding.spending_watch import LOOK_S, SpendingWatch
from headwater.errors import Halt, HeadwaterError, Retry
from headwater.log.memory import MemoryLedger, MemoryLog
from headwater.log.port import Totals
from headwater.model.receipt import Settlement, Usage
from headwater.observability.formats import LogFormat
from headwater.observability.logs import log_events
from headwater.observability.signals import Event
from tests.unit.log.test_memory_log import HandClock


class Away(MemoryLedger):
    """A ledger whose first looks fail."""

    errors: list[HeadwaterError]

    async def totals(self) -> Totals:
        if self.errors:
            raise self.errors.pop(0)
        return await super().totals()


class Bench:
    """Two streams of one account at a dollar a token, and what was told."""

    def __init__(self, *errors: HeadwaterError) -> None:
        self.clock = HandClock()
        self.log = MemoryLog(self.clock, SystemIds())
        self.readers = {name: self.log.reader(name, "g", 1, 1) for name in ("a", "b")}
        self.spending = Spending(1e6, 5e5, 50.0, 100.0, "day")
        ledgers = {name: Away(self.log, name, 1) for name in self.readers}
        for name, ledger in ledgers.items():
            ledger.errors = list(errors) if name == "b" else []
        self.told: list[tuple[Event, dict[str, Any]]] = []
        self.watch = SpendingWatch(self.spending, ledgers, self.clock, lambda *it: self.told.append(it))

    async def settle(self, stream: str, tokens: int) -> None:
        await self.readers[stream].settle(Settlement({}, (), Usage(tokens=tokens)))

    @property
    def wait_s(self) -> float:
        return self.spending.wait_s(self.clock.now_us())


def reached(level: str, spent: float, limit: float) -> list[tuple[Event, dict[str, Any]]]:
    fields = {"budget": level, "spent": spent, "limit": limit}
    return [(Event.BUDGET_REACHED, {"stream": stream, **fields}) for stream in ("a", "b")]


def test_limits_are_told_once_for_each_stream_of_the_account() -> None:
    async def scenario() -> None:
        bench = Bench()
        await bench.settle("a", 30)
        await bench.watch.look()
        assert (bench.told, bench.wait_s) == ([], 0.0)
        await bench.settle("b", 31)
        await bench.watch.look()
        await bench.watch.look()
        await bench.settle("b", 50)
        await bench.watch.look()
        assert bench.told == [*reached("soft", 61.0, 50.0), *reached("hard", 111.0, 100.0)]
        assert bench.wait_s > 0

    asyncio.run(scenario())


def test_both_limits_are_told_when_one_look_finds_them_passed() -> None:
    async def scenario() -> None:
        bench = Bench()
        await bench.settle("a", 100)
        await bench.watch.look()
        assert bench.told == [*reached("soft", 100.0, 50.0), *reached("hard", 100.0, 100.0)]

    asyncio.run(scenario())


def test_a_limit_that_is_reached_can_be_written_as_a_line() -> None:
    async def scenario() -> str:
        bench, lines = Bench(), list[str]()
        ledgers = {"a": MemoryLedger(bench.log, "a", 1)}
        await bench.settle("a", 60)
        await SpendingWatch(
            bench.spending, ledgers, bench.clock, log_events(lines.append, LogFormat.TEXT, bench.clock)
        ).look()
        (line,) = lines
        return line

    assert asyncio.run(scenario()).endswith("warning budget.reached stream=a budget=soft spent=60.0 limit=50.0")


def test_what_is_settled_while_it_looks_counts() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.spending.paid("a", 100, bench.clock.now_us())

        class Settling(MemoryLedger):
            async def totals(self) -> Totals:
                found = await super().totals()
                await bench.settle("a", 100)
                bench.spending.settled("a", 100)
                return found

        await SpendingWatch(bench.spending, {"a": Settling(bench.log, "a", 1)}, bench.clock, lambda *_: None).look()
        assert bench.spending.spent_usd(bench.clock.now_us()) == 100.0

    asyncio.run(scenario())


def test_a_log_that_is_away_is_looked_at_again() -> None:
    async def scenario() -> None:
        bench = Bench(Retry("the log", "away"), Retry("the log", "away"))
        await bench.settle("b", 100)
        began_s = bench.clock.time_s
        running = asyncio.ensure_future(bench.watch.run())
        while not bench.wait_s:
            assert bench.clock.time_s - began_s <= 2 * LOOK_S
            await asyncio.sleep(0)
        assert bench.clock.time_s - began_s >= 2 * LOOK_S
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())


def test_what_was_reached_since_the_last_look_is_told_at_the_end() -> None:
    async def scenario() -> None:
        bench = Bench()
        running = asyncio.ensure_future(bench.watch.run())
        await asyncio.sleep(0)
        bench.spending.paid("a", 60, bench.clock.now_us())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert bench.told == reached("soft", 60.0, 50.0)

    asyncio.run(scenario())


def test_a_log_that_is_not_what_it_was_ends_the_watch() -> None:
    with pytest.raises(Halt):
        asyncio.run(Bench(Halt("schema-skew", "torn", "restore")).watch.run())
