"""A modelled embedding service, and the judge of what it counts: its own books, never those of the code under test."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

from headwater.embedding.port import Allowance
from headwater.errors import Overloaded, RateLimited, Retry


@dataclass
class Limit:
    """So much in each window. Fixed windows begin at `phase`; a sliding one ends at every moment."""

    amount: float
    window_s: float
    fixed: bool
    phase_s: float = 0.0
    reset_said: float = 1.0  # less: it says that it is whole again too early
    enforced: bool = True  # else it only counts, and what goes above it shows
    admitted: deque[tuple[float, float]] = field(default_factory=deque)
    spent: float = 0.0
    total: float = 0.0
    peak: float = 0.0  # the most that any of the service's windows held

    def begin(self, now: float) -> float:
        return math.floor((now - self.phase_s) / self.window_s) * self.window_s + self.phase_s

    def used(self, now: float) -> float:
        # Rounded, so that this judge's own arithmetic never decides.
        oldest = round(self.begin(now) if self.fixed else now - self.window_s, 6)
        while self.admitted and (
            self.admitted[0][0] < oldest if self.fixed else round(self.admitted[0][0], 6) <= oldest
        ):
            self.spent -= self.admitted.popleft()[1]
        return self.spent

    def full(self, amount: float, now: float) -> bool:
        return self.enforced and self.used(now) + amount > self.amount

    def admit(self, amount: float, now: float) -> None:
        self.used(now)
        self.admitted.append((now, amount))
        self.spent += amount
        self.total += amount
        self.peak = max(self.peak, self.spent)

    def said(self, now: float) -> Allowance:
        used = self.used(now)
        if self.fixed:
            reset = self.begin(now) + self.window_s - now
        else:
            reset = self.admitted[-1][0] + self.window_s - now if self.admitted else 0.0
        return Allowance(round(self.amount), max(0, math.floor(self.amount - used)), reset * self.reset_said)

    def free_s(self, now: float) -> float:
        """When the next call has a chance."""
        if self.fixed:
            return self.begin(now) + self.window_s - now
        return self.admitted[0][0] + self.window_s - now if self.admitted else 0.0


@dataclass
class Request:
    texts: int
    tokens: int
    done_s: float
    outcome: Retry | None
    admitted: bool


@dataclass
class Service:
    """`slots` calls at once, each `batch_s` plus `text_s` a text; those that come beyond wait, or are turned away."""

    seed: int = 0
    batch_s: float = 0.040
    text_s: float = 0.002
    slots: int = 8
    queue: float = math.inf
    failing: float = 0.0
    noise: float = 0.0
    requests: Limit | None = None
    tokens: Limit | None = None
    says_limits: bool = True
    says_after: bool = True
    out: tuple[float, float] = (math.inf, math.inf)
    log: list[tuple[float, Request]] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    free: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.free = [0.0] * self.slots

    def resize(self, slots: int) -> None:
        busy = sorted(self.free)[-slots:]
        self.free = busy + [0.0] * (slots - len(busy))
        heapq.heapify(self.free)
        self.slots = slots

    def ask(self, texts: int, tokens: int, now: float) -> Request:
        request = self._judge(texts, tokens, now)
        self.log.append((now, request))
        return request

    def _judge(self, texts: int, tokens: int, now: float) -> Request:
        if self.out[0] <= now < self.out[1]:
            return Request(texts, tokens, now + 0.002, Retry("service", "away"), admitted=False)
        for limit, amount in ((self.requests, 1.0), (self.tokens, float(tokens))):
            if limit is not None and limit.full(amount, now):
                after = limit.free_s(now) if self.says_after else None
                return Request(texts, tokens, now + 0.002, RateLimited("service", "limit", after), admitted=False)
        self.ends = [end for end in self.ends if end > now]
        if len(self.ends) >= self.slots + self.queue:
            return Request(texts, tokens, now + 0.002, Overloaded("service", "full"), admitted=False)
        for limit, amount in ((self.requests, 1.0), (self.tokens, float(tokens))):
            if limit is not None:
                limit.admit(amount, now)
        if self.random.random() < self.failing:
            return Request(texts, tokens, now + 0.005, Retry("service", "fell over"), admitted=True)
        began = max(now, heapq.heappop(self.free))
        work = (self.batch_s + self.text_s * texts) * math.exp(self.random.gauss(0, self.noise))
        heapq.heappush(self.free, began + work)
        self.ends.append(began + work)
        return Request(texts, tokens, began + work, None, admitted=True)

    def said(self, now: float) -> tuple[Allowance, Allowance]:
        if not self.says_limits:
            return Allowance(), Allowance()
        return (
            self.requests.said(now) if self.requests else Allowance(),
            self.tokens.said(now) if self.tokens else Allowance(),
        )
