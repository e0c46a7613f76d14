"""Workers that share one account, as shipped (Borrower, Stake, Budget), on a log and machines that fail.

A worker that is stopped does nothing until it goes on, and then its tasks run in any order. What it had sent arrives.
Its clock runs a little slower than another's, and begins anywhere.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field

from headwater.embedding.budget import Booking, Budget
from headwater.embedding.port import Allowance
from headwater.embedding.sharing.borrower import Borrower
from headwater.errors import Retry
from headwater.model.shares import Division
from headwater.testing.shares import MemoryShares
from tests.simulation_shares.service import Service

ACCOUNT = "account"
LARGEST = 60
SMALLEST = 5


class Watched(MemoryShares):
    """The log, of which every state is judged."""

    def __init__(self) -> None:
        super().__init__()
        self.violations: list[str] = []
        self.writes = 0

    async def advance(self, account: str, division: Division) -> bool:
        won = await super().advance(account, division)
        if won:
            self.writes += 1
            whole = sum(it.share for it in division.members.values())
            if whole > 1 + 1e-9 or any(it.share < 0 for it in division.members.values()):
                self.violations.append(f"shares come to {whole}")
        return won


@dataclass
class Faults:
    """How often a call to the log meets what. All 0: it answers within milliseconds."""

    slow: float = 0.0  # up to some seconds
    stuck: float = 0.0  # up to the time that a lease lasts, and beyond
    refused: float = 0.0  # nothing came to pass
    late: float = 0.0  # it seems to have failed, and comes to pass some time later
    unheard: float = 0.0  # it came to pass, and the answer is lost


@dataclass
class World:
    """What all workers have in common."""

    service: Service
    seed: int = 0
    faults: Faults = field(default_factory=Faults)
    failing: float = 0.0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.log = Watched()
        self.counts: Counter[str] = Counter()
        self.workers: list[Worker] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def join(self, load: float = math.inf) -> Worker:
        """Let a worker join that has so many tokens a second to send."""
        worker = Worker(self, f"w{len(self.workers)}", load)
        self.workers.append(worker)
        worker.begin()
        return worker

    @property
    def alive(self) -> list[Worker]:
        return [it for it in self.workers if it.alive]

    def chance(self, name: str, share: float) -> bool:
        happens = self.random.random() < share
        self.counts[name] += happens
        return happens


class Worker:
    """One process: its clock, its way to the log, its borrower and its traffic."""

    def __init__(self, world: World, name: str, load: float) -> None:
        self.world = world
        self.name = name
        self.load = load
        self.alive = True
        self.cut = False  # it cannot reach the log
        self.mute = False  # it reads the log, and its writes are refused
        self.stale: Division | None = None  # a broker that was replaced answers its reads, and takes no writes
        self.late_s = 0.0  # its writes seem to fail, and come to pass so much later
        self.last = (
            ""  # the next read, or write, is answered so much later than it was done, and no other comes through
        )
        self.last_s = 0.0
        self._rate = world.random.uniform(0.98, 1.0)
        self._began = world.random.uniform(0.0, 1e5)
        self._going = asyncio.Event()
        self._going.set()
        self._answered = asyncio.Event()
        self._waiting = 0.0
        service = world.service
        self.budget = Budget(service.requests, service.tokens, service.window_s)
        self.borrower = Borrower(self, ACCOUNT, name, self.budget, self)
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        self._tasks = [self.world.start(self.borrower.run()), self.world.start(self._traffic())]

    # --- what happens to it

    def stop(self) -> None:
        self._going.clear()

    def go_on(self) -> None:
        self._going.set()

    def kill(self) -> None:
        self.alive = False
        for task in self._tasks:
            task.cancel()

    async def leave(self) -> None:
        """What a worker still does after its streams have ended."""
        try:
            await self.borrower.leave()
        except Retry:
            self.world.counts["left unheard"] += 1

    async def awake(self) -> None:
        while not self._going.is_set():
            await self._going.wait()
            await asyncio.sleep(self.world.random.uniform(0, 0.01))

    # --- its clock

    def now_us(self) -> int:
        raise AssertionError("nothing here asks for the time of day")

    def monotonic(self) -> float:
        return self._began + self.world.now * self._rate

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._rate)
        await self.awake()

    # --- its way to the log

    async def read(self, account: str) -> Division:
        await self._way()
        if self.cut or self.world.chance("refused", self.world.faults.refused):
            raise Retry("log", "away")
        division = self.stale or await self.world.log.read(account)
        await self._way("read")
        return division

    async def advance(self, account: str, division: Division) -> bool:
        await self._way()
        if self.cut or self.mute or self.stale or self.world.chance("refused", self.world.faults.refused):
            raise Retry("log", "away")
        if self.late_s or self.world.chance("late", self.world.faults.late):
            self.world.start(self._later(account, division, self.late_s or self.world.random.uniform(0.0, 4.0)))
            await self._way()
            raise Retry("log", "no answer in time")
        won = await self.world.log.advance(account, division)
        self.world.counts["lost races"] += not won
        await self._way("write")
        if self.world.chance("unheard", self.world.faults.unheard):
            raise Retry("log", "no answer")
        return won

    async def close(self) -> None:
        pass

    async def _later(self, account: str, division: Division, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.world.log.advance(account, division)

    async def _way(self, done: str = "") -> None:
        delay = self.world.random.uniform(0.001, 0.005)
        if done and done == self.last:
            delay, self.cut, self.last = self.last_s, True, ""
        if self.world.chance("slow", self.world.faults.slow):
            delay = self.world.random.uniform(0.0, 2.0)
        if self.world.chance("stuck", self.world.faults.stuck):
            delay = self.world.random.uniform(3.0, 15.0)
        await asyncio.sleep(delay)
        await self.awake()

    # --- its traffic

    async def _traffic(self) -> None:
        last = self.monotonic()
        while True:
            await self.awake()
            now = self.monotonic()
            self._waiting = min(self._waiting + (now - last) * self.load, 5_000) if now > last else self._waiting
            last = now
            if self._waiting < SMALLEST:
                await asyncio.sleep(min(1.0, max(0.02, SMALLEST / self.load)) if self.load else 0.25)
                continue
            need = self.world.random.randint(SMALLEST, LARGEST // 4)
            most = max(need, min(LARGEST, self._waiting))
            fit = self.budget.fit(need, most, most, 0.0, now)
            if fit.wait_s > 0:
                self._answered.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._answered.wait(), min(fit.wait_s + 1e-6, 1e6))
                continue
            tokens = math.floor(min(fit.tokens, most))
            self._waiting -= tokens
            self.world.start(self._call(self.budget.book(tokens, tokens, now), tokens))
            await asyncio.sleep(0.001)

    async def _call(self, booking: Booking, booked: int) -> None:
        await asyncio.sleep(self.world.random.uniform(0.0, 0.04))
        tokens = max(1, round(booked * self.world.random.uniform(0.8, 1.0)))
        said: tuple[Allowance, Allowance] = self.world.service.count(self.name, tokens, self.world.now)
        await asyncio.sleep(self.world.random.expovariate(20.0))
        await self.awake()
        if not self.alive:
            return
        if self.world.chance("failed", self.world.failing):
            self.budget.failed(booking, self.monotonic())
        else:
            self.budget.answered(booking, tokens, *said, self.monotonic())
        self._answered.set()
