"""Simulated time: a loop on which every wait is over at once, in the order of the clock. One seed gives one history.

The loop is asyncio's own; only the place where it would wait for the machine is replaced, so that the code under test
runs exactly as shipped.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

#: Where simulated time begins: 2026-01-01T00:00:00Z, in microseconds since the Unix epoch.
BEGINNING_US = 1_767_225_600_000_000


class Deadlock(RuntimeError):
    """Every task waits for another one: nothing will ever happen again."""


class _NoSelector(selectors.BaseSelector):
    """Instead of waiting for the machine, time moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock
        self.now_s += max(timeout, 0.0)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class SimulatedLoop(asyncio.SelectorEventLoop):
    """asyncio's loop in simulated time. It has no threads and no sockets."""

    def __init__(self) -> None:
        self._machine = _NoSelector()
        super().__init__(self._machine)

    def time(self) -> float:
        return self._machine.now_s


class SimulatedClock:
    """The clock of the running SimulatedLoop."""

    def now_us(self) -> int:
        return BEGINNING_US + round(self.monotonic() * 1e6)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SeededDice:
    """Randomness from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (a simulation's, not a secret)

    def random(self) -> float:
        return self._random.random()


class CountingIds:
    """Identities in the order in which they were asked for."""

    def __init__(self) -> None:
        self._count = 0

    def identity(self) -> str:
        self._count += 1
        return f"{self._count:032x}"

    def secret(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(32, "big")


async def in_place(work: Callable[[], T]) -> T:
    """Run a computation where it is asked for: the simulation's `Offload`."""
    return work()


def simulate(main: Callable[[], Awaitable[T]]) -> T:
    """Run `main()` on a new SimulatedLoop and return what it returns. Raise Deadlock when everything waits."""
    loop = SimulatedLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(_run(main))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _run(main: Callable[[], Awaitable[T]]) -> T:
    try:
        return await main()
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
