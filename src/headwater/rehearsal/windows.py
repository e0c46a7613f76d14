"""What an account has used of its limits, exact to the microsecond. Told the time; pure.

Times are whole microseconds since the provider's start, so that the edges of windows are exact.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

from headwater.rehearsal.plan import Limit, WindowKind

Counted = Literal["requests", "tokens"]


class Window(Protocol):
    """How much may be used of something in a window, and how much was."""

    limit: int

    def used(self, now_us: int) -> int:
        """Return what was used in the window that holds now."""
        ...

    def take(self, now_us: int, amount: int) -> None:
        """Use an amount, whether it fits or not. Times never go back."""
        ...

    def wait_us(self, now_us: int, amount: int) -> int | None:
        """Return in how long an amount fits: 0 is now, None is never."""
        ...

    def reset_us(self, now_us: int) -> int:
        """Return in how long all of it is free again."""
        ...


class FixedWindow:
    """Windows [0, length), [length, 2 length) and so on: what is used in one is forgotten in the next."""

    def __init__(self, limit: int, length_us: int) -> None:
        self.limit = limit
        self._length_us = length_us
        self._window = 0
        self._used = 0

    def used(self, now_us: int) -> int:
        return self._used if now_us // self._length_us == self._window else 0

    def take(self, now_us: int, amount: int) -> None:
        self._used = self.used(now_us) + amount
        self._window = now_us // self._length_us

    def wait_us(self, now_us: int, amount: int) -> int | None:
        if amount > self.limit:
            return None
        return 0 if self.used(now_us) + amount <= self.limit else self._length_us - now_us % self._length_us

    def reset_us(self, now_us: int) -> int:
        return self._length_us - now_us % self._length_us if self.used(now_us) else 0


class SlidingWindow:
    """The window (now - length, now]: what was used exactly one length ago has left it."""

    def __init__(self, limit: int, length_us: int) -> None:
        self.limit = limit
        self._length_us = length_us
        self._taken: deque[tuple[int, int]] = deque()
        self._used = 0

    def used(self, now_us: int) -> int:
        while self._taken and self._taken[0][0] <= now_us - self._length_us:
            self._used -= self._taken.popleft()[1]
        return self._used

    def take(self, now_us: int, amount: int) -> None:
        self._used = self.used(now_us) + amount
        self._taken.append((now_us, amount))

    def wait_us(self, now_us: int, amount: int) -> int | None:
        if amount > self.limit:
            return None
        over = self.used(now_us) + amount - self.limit
        if over <= 0:
            return 0
        for taken_us, freed in self._taken:
            over -= freed
            if over <= 0:
                return taken_us + self._length_us - now_us
        raise AssertionError("what fits the limit fits an empty window")

    def reset_us(self, now_us: int) -> int:
        return self._taken[-1][0] + self._length_us - now_us if self.used(now_us) else 0


class Standing(NamedTuple):
    """What one of an account's windows says: the limit, what is left of it, and when it is whole again."""

    limit: int
    left: int
    reset_us: int


class Exceeded(NamedTuple):
    """An account's limit that a request does not fit into; `wait_us` is None when it never will."""

    of: Counted
    limit: int
    used: int
    requested: int
    wait_us: int | None


class _Counter(NamedTuple):
    of: Counted
    counts_refused: bool
    window: Window


class Account:
    """All windows of one account. A request is admitted by all of them, or counted by none."""

    def __init__(self, limits: Iterable[Limit]) -> None:
        self._counters: list[_Counter] = []
        for limit in limits:
            make = FixedWindow if limit.kind is WindowKind.FIXED else SlidingWindow
            length_us = round(limit.window_s * 1e6)
            if limit.requests is not None:
                self._counters.append(_Counter("requests", limit.counts_refused, make(limit.requests, length_us)))
            if limit.tokens is not None:
                self._counters.append(_Counter("tokens", False, make(limit.tokens, length_us)))  # noqa: FBT003 (a field)

    def exceeded(self, now_us: int, tokens: int) -> Exceeded | None:
        """Return the limit that one more request of so many tokens must wait for the longest, if for any."""
        worst: Exceeded | None = None
        for of, _, window in self._counters:
            amount = _amount(of, tokens)
            wait_us = window.wait_us(now_us, amount)
            if wait_us != 0 and (worst is None or _longer(wait_us, worst.wait_us)):
                worst = Exceeded(of, window.limit, window.used(now_us), amount, wait_us)
        return worst

    def take(self, now_us: int, tokens: int) -> None:
        """Count a request that was admitted."""
        for of, _, window in self._counters:
            window.take(now_us, _amount(of, tokens))

    def take_refused(self, now_us: int) -> None:
        """Count a request that was refused, where the service counts those."""
        for of, counts_refused, window in self._counters:
            if counts_refused:
                window.take(now_us, _amount(of, 0))

    def standing(self, now_us: int, of: Counted) -> Standing | None:
        """Return what the tightest window of a kind says."""
        standings = [
            Standing(window.limit, max(0, window.limit - window.used(now_us)), window.reset_us(now_us))
            for counted, _, window in self._counters
            if counted == of
        ]
        return min(standings, key=lambda standing: standing.left, default=None)


def _amount(of: Counted, tokens: int) -> int:
    return 1 if of == "requests" else tokens


def _longer(one_us: int | None, other_us: int | None) -> bool:
    return other_us is not None and (one_us is None or one_us > other_us)
