"""Plays traffic through dispatchers against the modelled service, in simulated time."""

from __future__ import annotations

import heapq
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from headwater.embedding.batching import Limits, Sized
from headwater.embedding.budget import Budget
from headwater.embedding.capacity import Capacity
from headwater.embedding.dispatch import Call, Dispatcher
from headwater.embedding.lanes import Lane, Policy, Text
from headwater.embedding.port import Allowance
from headwater.errors import Retry
from tests.simulation_gateway.service import Service

LIMITS = Limits(texts=128, tokens=300_000, bytes=1_000_000)


@dataclass
class Done:
    """A text that was embedded."""

    text: Text
    tokens: int
    at_s: float


@dataclass
class Play:
    """One service, one worker, and what came of the traffic."""

    service: Service
    seed: int = 0
    limits: Limits = LIMITS
    policy: Policy = field(default_factory=Policy)
    budget: Budget = field(default_factory=Budget)
    exact: bool = False
    wire_s: float = 0.001

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.now = 0.0
        self.done: list[Done] = []
        self.calls: list[tuple[float, Call]] = []
        self.tokens: dict[int, int] = {}
        self.backlogs: list[tuple[Lane, str, int, int | None]] = []
        self.waiting: dict[str, int] = defaultdict(int)
        self.most_at_once = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._key = 0
        self._wake_s = math.inf
        self.dispatcher = Dispatcher(
            self.limits, self.budget, Capacity(), self.policy, self._count if self.exact else None
        )

    def _count(self, text: Sized) -> int:
        assert isinstance(text, Text)
        return self.tokens[text.key]

    # --- traffic

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, action))

    def put(self, lane: Lane, stream: str, tokens: int | None = None, size: int | None = None) -> Text:
        """Without figures, about four bytes a token, more or less from text to text."""
        self._key += 1
        size = size or (4 * tokens if tokens else self.random.randint(80, 320))
        count = tokens or round(size / self.random.uniform(3.4, 4.6)) + 2
        text = Text(self._key, lane, stream, size, self.now)
        self.tokens[text.key] = count
        self.waiting[stream] += 1
        self.dispatcher.add([text], self.now)
        return text

    def backlog(self, lane: Lane, stream: str, depth: int = 2_000, tokens: int | None = None) -> None:
        """A stream that always has so many texts waiting."""
        self.backlogs.append((lane, stream, depth, tokens))

    def poisson(self, lane: Lane, stream: str, rate: float, seconds: float) -> None:
        when = 0.0
        while (when := when + self.random.expovariate(rate)) < seconds:
            self.at(when, lambda: (self.put(lane, stream), None)[1])

    # --- time

    def run(self, seconds: float) -> Play:
        self._turn()
        while self._events and self._events[0][0] <= seconds:
            self.now, _, action = heapq.heappop(self._events)
            action()
            self._turn()
        self.now = seconds
        return self

    def _turn(self) -> None:
        for lane, stream, depth, tokens in self.backlogs:
            while self.waiting[stream] < depth:
                self.put(lane, stream, tokens)
        while isinstance(step := self.dispatcher.next(self.now), Call):
            self._send(step)
        assert step > 0
        if math.isfinite(step) and not self.now < self._wake_s <= self.now + step:
            self._wake_s = self.now + step
            self.at(self._wake_s + 1e-6, lambda: None)

    def _send(self, call: Call) -> None:
        self.calls.append((self.now, call))
        self.most_at_once = max(self.most_at_once, call.at_once)
        if call.attempt == 0:
            for text in call.texts:
                self.waiting[text.stream] -= 1
        self.at(self.now + self.wire_s * self.random.uniform(0.5, 1.0), lambda: self._arrive(call))

    def _arrive(self, call: Call) -> None:
        tokens = sum(self.tokens[text.key] for text in call.texts)
        request = self.service.ask(len(call.texts), tokens, self.now)
        back = self.wire_s * self.random.uniform(0.5, 1.0)

        def answer() -> None:
            if isinstance(request.outcome, Retry):
                outcome = request.outcome
                self.at(self.now + back, lambda: self.dispatcher.failed(call, outcome, self.random.random(), self.now))
                return
            said = self.service.said(self.now)
            self.at(self.now + back, lambda: self._answered(call, tokens, said))

        self.at(request.done_s, answer)

    def _answered(self, call: Call, tokens: int, said: tuple[Allowance, Allowance]) -> None:
        self.dispatcher.answered(call, tokens, *said, self.now)
        self.done += [Done(text, self.tokens[text.key], self.now) for text in call.texts]

    # --- what came of it

    def within(self, since: float, lane: Lane | None = None, stream: str | None = None) -> Iterator[Done]:
        for done in self.done:
            if done.at_s >= since and lane in (None, done.text.lane) and stream in (None, done.text.stream):
                yield done

    def rate(self, since: float, lane: Lane | None = None, stream: str | None = None) -> float:
        """Texts a second."""
        return sum(1 for _ in self.within(since, lane, stream)) / (self.now - since)

    def token_rate(self, since: float, lane: Lane | None = None, stream: str | None = None) -> float:
        return sum(done.tokens for done in self.within(since, lane, stream)) / (self.now - since)

    def p99_s(self, since: float, lane: Lane) -> float:
        waits = sorted(done.at_s - done.text.since for done in self.within(since, lane))
        return waits[math.ceil(0.99 * len(waits)) - 1]

    def requests(self, since: float) -> int:
        return sum(1 for when, _ in self.service.log if when >= since)

    def batches(self, since: float) -> int:
        """Useful requests: those that were answered with vectors."""
        return sum(1 for when, request in self.service.log if when >= since and request.outcome is None)
