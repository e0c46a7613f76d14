"""PURE: how many calls at once make full use of a service and no queue before it.

The latency of calls of like size is compared with the least that it was lately. While it does not rise, one more call
goes at once; when it rises, as many go as the rise says are being served, and one more, which keeps the service from
running dry. A service that says it is overloaded is given fewer at once, and is tried above that only rarely.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean, stdev

import msgspec

#: A rise of the latency by less than this, or by less than its own scatter explains, is none.
TOLERANCE = 1.1
SCATTER = 2.0

#: What is kept after an overload.
CUT = 0.8
#: For how long nothing is tried above what was too much.
ROOF_S = 20.0

#: For how long a latency is remembered as the least, and after how long without an uncrowded one it is measured anew,
#: with this part of the calls.
MEMORY_S = 30.0
REFRESH_S = 20.0
THINNED = 0.75

#: So many times what was found went at once without waiting: then that was wrong.
MORE = 1.5
#: For how long what was found is believed where nothing shows that it holds.
BELIEVED_S = 120.0

#: Only calls that take this part of the longest ones are heard.
DOMINANT = 0.5

#: The fewest latencies that say anything.
FEWEST = 4
#: Calls whose costs differ by less than the eighth part of a doubling are of like size.
SIZES_IN_A_DOUBLING = 8


class _Round(msgspec.Struct, frozen=True):
    """What so many calls of one size took: the mean, how far from it the mean of others would lie (both in seconds),
    and how many were under way at once.
    """

    ended_s: float
    mean_s: float
    scatter_s: float
    at_once: float


class _Size:
    """The calls of one size: those of the present round, and the rounds of the last time that were the quickest."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self._at_once: list[int] = []
        self._rounds: deque[_Round] = deque()

    def add(self, latency_s: float, at_once: int) -> int:
        self.latencies.append(latency_s)
        self._at_once.append(at_once)
        return len(self.latencies)

    def forget(self) -> None:
        self.latencies, self._at_once = [], []

    def close(self, now: float) -> _Round:
        scatter = stdev(self.latencies) / math.sqrt(len(self.latencies))
        seen = _Round(now, fmean(self.latencies), scatter, fmean(self._at_once))
        self.forget()
        while self._rounds and self._rounds[0].ended_s < now - MEMORY_S:
            self._rounds.popleft()
        while self._rounds and self._rounds[-1].mean_s >= seen.mean_s:
            self._rounds.pop()
        self._rounds.append(seen)
        return seen

    @property
    def least(self) -> _Round:
        return self._rounds[0]

    def usual_s(self, now: float) -> float:
        """How long its calls take uncrowded, as far as that is remembered."""
        return self.least.mean_s if self._rounds and self._rounds[-1].ended_s >= now - MEMORY_S else 0.0


class Capacity:
    """The number of calls at once to one model of one provider, between 1 and `ceiling`.

    Time is in seconds of any monotonic clock.
    """

    def __init__(self, ceiling: int = 64) -> None:
        self._ceiling = ceiling
        self._limit = float(min(2, ceiling))
        self._doubling = True
        self._changed_s = -math.inf
        self._sizes: dict[int, _Size] = {}
        self._found: tuple[float, float] | None = None
        self._roof: tuple[float, int] = (-math.inf, 0)
        self._uncrowded_s: float | None = None
        self._thinned = False

    @property
    def limit(self) -> int:
        """How many calls may be under way at once."""
        return max(1, int(self._limit * THINNED) if self._thinned else int(self._limit))

    def found(self, now: float) -> float | None:
        """Return how many calls the service was seen to serve at once; None when its limit was not met lately."""
        if self._found is None or now - self._found[0] > BELIEVED_S:
            return None
        return self._found[1]

    def answered(self, cost: float, sent: float, at_once: int, now: float) -> None:
        """Learn from an answer: `cost` is anything that a call's time depends on, `at_once` how many were under way
        when it went at `sent`, itself among them.
        """
        if sent < self._changed_s:
            return  # it says nothing of the present number
        size = self._sizes.setdefault(int(SIZES_IN_A_DOUBLING * math.log2(max(cost, 1.0))), _Size())
        rounds = 1 if self._doubling or self._thinned else 2
        if size.add(now - sent, at_once) >= max(FEWEST, 0 if self._thinned else rounds * self.limit):
            seen = size.close(now)
            # A small call behind large ones takes many times its own time: only the large ones tell how many wait.
            if size.least.mean_s >= DOMINANT * max(other.usual_s(now) for other in self._sizes.values()):
                self._judge(seen, size.least, now)

    def overloaded(self, sent: float, at_once: int, now: float) -> None:
        """Learn that the service said it has too much to do while `at_once` calls were under way, this one among them.
        Calls that went before the last change change nothing.
        """
        if sent < self._changed_s:
            return
        self._roof = (now + ROOF_S, at_once)
        self._found = (now, max(1.0, at_once - 1.0))
        self._doubling = False
        self._set(min(self._limit, at_once) * CUT, now)

    def _judge(self, seen: _Round, least: _Round, now: float) -> None:
        if self._thinned or self._uncrowded_s is None or seen.at_once <= self._limit * THINNED:
            self._uncrowded_s = now
        if self._thinned:
            self._thinned = False
            self._changed_s = now
            return
        # The least of many is as far below their mean as they scatter: only what is above that is a rise. A queue makes
        # every call of a round slow, a disturbance only some: where they scatter, a higher mean says little.
        below = SCATTER * least.scatter_s / least.mean_s if least.mean_s else 0.0
        doubt = seen.scatter_s / least.mean_s if least.mean_s else 0.0
        rise = seen.mean_s / least.mean_s / (1 + below) if least.mean_s else 1.0
        if rise > TOLERANCE + below + doubt:
            served = seen.at_once / rise
            # While the number was doubled the queue had no time to build up: later rounds will say better.
            self._found = (now, served)
            self._doubling = False
            self._set(max(self._limit / 2, min(self._limit, served + 1)), now)
        else:
            if self._found is not None and seen.at_once > MORE * self._found[1]:
                self._found = None  # more went at once, and none of them waited
            if seen.at_once > self.limit - 0.5:
                self._grow(now)
        if now - self._uncrowded_s > REFRESH_S:
            self._thinned = True
            self._changed_s = now

    def _grow(self, now: float) -> None:
        until, roof = self._roof
        most = min(self._ceiling, roof - 1) if now < until else self._ceiling
        higher = min(most, self._limit * 2 if self._doubling else self._limit + 1)
        if higher > self._limit:
            self._set(higher, now)

    def _set(self, limit: float, now: float) -> None:
        limit = max(1.0, limit)
        if limit != self._limit:
            self._limit = limit
            self._changed_s = now
            for size in self._sizes.values():
                size.forget()
