"""Looks into the ledgers of an account's streams, and says when a limit of its budget is reached."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from headwater.clock import Clock
from headwater.embedding.spending import Spending
from headwater.errors import Retry
from headwater.log.port import Ledger
from headwater.observability.signals import Emit, Event

#: How often others' spending is looked at.
LOOK_S = 10.0


class SpendingWatch:
    """One worker's look at one account. `ledgers` are those of all streams that use it.

    While the log is away nothing is learned, and nothing is settled by anybody.
    """

    def __init__(self, spending: Spending, ledgers: Mapping[str, Ledger], clock: Clock, emit: Emit) -> None:
        self._spending = spending
        self._ledgers = ledgers
        self._clock = clock
        self._emit = emit

    async def run(self) -> None:
        """Look, and look again, until cancelled. Raise Halt when the log is not what it was."""
        try:
            while True:
                with suppress(Retry):
                    await self.look()
                await self._clock.sleep(LOOK_S)
        finally:
            self._tell()  # what was reached since the last look

    async def look(self) -> None:
        """Look once, and tell of each limit that is reached, once in each period. Raise Retry when the log is away."""
        for stream, ledger in self._ledgers.items():
            looked = self._spending.look(stream)
            self._spending.learn(stream, (await ledger.totals()).daily, looked)
        self._tell()

    def _tell(self) -> None:
        now_us = self._clock.now_us()
        while level := self._spending.crossed(now_us):
            spent, limit = self._spending.spent_usd(now_us), self._spending.limits[level]
            for stream in self._ledgers:
                self._emit(
                    Event.BUDGET_REACHED, {"stream": stream, "budget": level, "spent": round(spent, 4), "limit": limit}
                )
