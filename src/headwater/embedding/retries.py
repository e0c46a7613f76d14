"""PURE: when a failed call may go again, and when a service that fails is left alone."""

from __future__ import annotations

import math
from enum import StrEnum

from headwater.patience import FIRST_PAUSE_S, longest_pause_s

#: Retries are at most this share of the requests, and beyond that one in so many seconds.
SHARE = 0.1
FLOOR_S = 1.0

#: How many unused retries are saved up.
SAVED = 10.0

#: Failures in a row that open the breaker, and for how long at first and at most.
FAILURES = 5
FIRST_OPEN_S = 1.0
LONGEST_OPEN_S = 30.0


def backoff_s(attempt: int, roll: float, after_s: float | None = None) -> float:
    """Return how long to wait before the next attempt: anywhere below a bound that doubles ("full jitter").

    `attempt` counts the failures so far from 1, `roll` is in [0, 1). A service that names a time (`after_s`) is not
    asked before it.
    """
    return roll * longest_pause_s(attempt) if after_s is None else after_s + roll * FIRST_PAUSE_S


class RetryBudget:
    """Says when the next retry may go, so that a failing service is not asked twice as often as a healthy one."""

    def __init__(self) -> None:
        self._balance = SAVED
        self._filled_s: float | None = None

    def requested(self) -> None:
        """Learn that a call went out for the first time."""
        self._balance = min(SAVED, self._balance + SHARE)

    def reserve_s(self, now: float) -> float:
        """Take one retry, and return in how many seconds it may go. Those that are owed queue up behind each other."""
        if self._filled_s is not None:
            self._balance = min(SAVED, self._balance + (now - self._filled_s) / FLOOR_S)
        self._filled_s = now
        self._balance -= 1.0
        return max(0.0, -self._balance * FLOOR_S)


class State(StrEnum):
    """Of a breaker: calls go; none goes; one goes, to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Stops the calls to one model of one provider after failures in a row, and lets single probes find its recovery.

    What a busy service answers (rate limited, overloaded) is no failure: it is alive.
    """

    def __init__(self) -> None:
        self.state = State.CLOSED
        self._failures = 0
        self._openings = 0
        self._until_s = 0.0

    def wait_s(self, now: float) -> float:
        """Return in how many seconds a call may go: 0.0 is now, inf is when the probe under way is answered."""
        if self.state is State.CLOSED:
            return 0.0
        return math.inf if self.state is State.HALF_OPEN else max(0.0, self._until_s - now)

    def sent(self) -> None:
        """Learn that a call goes out; from an open breaker it is the probe."""
        if self.state is State.OPEN:
            self.state = State.HALF_OPEN

    def succeeded(self) -> None:
        """Learn that the service answered, be it that it is busy or that it refuses the input."""
        self.state, self._failures, self._openings = State.CLOSED, 0, 0

    def failed(self, roll: float, after_s: float | None, now: float, *, ill: bool = False) -> None:
        """Learn that a call failed, or that no call can succeed (`ill`).

        Those that were under way when the breaker opened prolong nothing.
        """
        self._failures += 1
        opens = ill or self._failures >= FAILURES
        if self.state is State.HALF_OPEN or (self.state is State.CLOSED and opens):
            self._open(roll, after_s, now)

    def abandoned(self, now: float) -> None:
        """Learn that a call was given up by its caller: if it was the probe, another one may go."""
        if self.state is State.HALF_OPEN:
            self.state, self._until_s = State.OPEN, now

    def _open(self, roll: float, after_s: float | None, now: float) -> None:
        longest = min(LONGEST_OPEN_S, FIRST_OPEN_S * 2.0 ** min(self._openings, 16))
        self._until_s = now + (longest * (0.5 + roll / 2) if after_s is None else max(after_s, FIRST_PAUSE_S))
        self._openings += 1
        self.state = State.OPEN
