"""Patience: waits out the outages of dependencies, and lets others see what is being waited for.

An outage burns freshness and nothing else: no change becomes a dead letter because something was away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from headwater.clock import Clock, Dice
from headwater.errors import Retry

T = TypeVar("T")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 15.0


class Outage(msgspec.Struct, frozen=True):
    """A dependency that is away: since when (monotonic seconds), why, and how often it was tried."""

    dependency: str
    cause: str
    since_s: float
    attempts: int


def longest_pause_s(attempt: int) -> float:
    """Return the most that is waited before the next attempt: doubling, capped. `attempt` counts from 1."""
    # The exponent is bounded too: an outage of hours would overflow it.
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt - 1, 16))


def pause_s(attempt: int, roll: float, after_s: float | None) -> float:
    """Return how long to wait before the next attempt: doubling, capped, with jitter over its upper half.

    `attempt` counts from 1, `roll` is in [0, 1). A dependency that names a time (`after_s`) is taken at its word,
    but never asked in a tight loop.
    """
    jitter = 0.5 + roll / 2
    if after_s is not None:
        return max(after_s, FIRST_PAUSE_S * jitter)
    return longest_pause_s(attempt) * jitter


class Wait:
    """One who waits, and what for: whatever was told to the patience is taken back in the end."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._for: dict[str, None] = {}

    def away(self, retry: Retry) -> None:
        """A dependency is away, still or again."""
        self._patience.away(retry, first=retry.dependency not in self._for)
        self._for[retry.dependency] = None

    def back(self) -> None:
        """All that was away is there again."""
        for dependency in self._for:
            self._patience.back(dependency)

    def leave(self) -> None:
        """Wait no more, whether it came back or not."""
        for dependency in self._for:
            self._patience.leave(dependency)
        self._for = {}


class Patience:
    """Calls again until it succeeds. One a stream; `outages` is what it waits for at the moment."""

    def __init__(self, clock: Clock, dice: Dice, notice: Callable[[Outage | None, str], None]) -> None:
        self._clock = clock
        self._dice = dice
        self._notice = notice
        self._waiting: Counter[str] = Counter()
        self.outages: dict[str, Outage] = {}

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Await `operation()` until it raises no Retry. Everything else that it raises goes up."""
        attempt = 0
        wait = Wait(self)
        try:
            while True:
                try:
                    result = await operation()
                except Retry as retry:
                    attempt += 1
                    wait.away(retry)
                    await self._clock.sleep(pause_s(attempt, self._dice.random(), retry.after_s))
                else:
                    wait.back()
                    return result
        finally:
            wait.leave()

    def away(self, retry: Retry, *, first: bool) -> None:
        """Somebody waits for what is away: for the first time, or still."""
        self._waiting[retry.dependency] += first
        known = self.outages.get(retry.dependency)
        since = known.since_s if known else self._clock.monotonic()
        outage = Outage(retry.dependency, retry.cause, since, known.attempts + 1 if known else 1)
        self.outages[retry.dependency] = outage
        if known is None or known.cause != outage.cause:
            self._notice(outage, retry.dependency)

    def back(self, dependency: str) -> None:
        """It is there again."""
        if self.outages.pop(dependency, None):
            self._notice(None, dependency)

    def leave(self, dependency: str) -> None:
        """One that waited is gone. One that was cancelled cannot tell that the outage ended; without a caller nobody
        waits.
        """
        self._waiting[dependency] -= 1
        if not self._waiting[dependency]:
            self.outages.pop(dependency, None)
