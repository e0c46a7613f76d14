"""Patience: what it waits for is what it says it waits for."""

from __future__ import annotations

import asyncio

from headwater.clock import SystemDice
from headwater.errors import Retry
from headwater.patience import Outage, Patience


class Still:
    """A clock whose sleeps end when they are told to."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()

    def now_us(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await self.woken.wait()


class Index:
    """A dependency that is away or there."""

    def __init__(self) -> None:
        self.is_away = True

    async def ask(self) -> str:
        if self.is_away:
            raise Retry("index", "connection refused")
        return "answer"


def test_an_outage_is_over_with_the_call_that_succeeds() -> None:
    told: list[bool] = []

    def notice(outage: Outage | None, _dependency: str) -> None:
        told.append(outage is not None)

    async def scenario() -> None:
        clock, index = Still(), Index()
        patience = Patience(clock, SystemDice(), notice)
        calls = [asyncio.ensure_future(patience.call(index.ask)) for _ in range(2)]
        await turn()
        assert set(patience.outages) == {"index"}
        index.is_away = False
        clock.woken.set()
        assert await asyncio.gather(*calls) == ["answer", "answer"]
        assert patience.outages == {}

    asyncio.run(scenario())
    assert told == [True, False]


def test_nobody_waits_for_what_was_only_waited_for_by_a_cancelled_call() -> None:
    """A stream that is paused during an outage and resumed after it would look as if it still waited."""

    async def scenario() -> None:
        patience = Patience(Still(), SystemDice(), lambda _outage, _dependency: None)
        first, second = (asyncio.ensure_future(patience.call(Index().ask)) for _ in range(2))
        await turn()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert set(patience.outages) == {"index"}, "the other call waits for it"
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert patience.outages == {}

    asyncio.run(scenario())


async def turn() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)
