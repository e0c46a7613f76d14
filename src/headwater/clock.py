"""Time, randomness and ids: ports, and the system's own. The only file that may ask the machine for any of them."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
import uuid
from typing import Protocol


class Clock(Protocol):
    """What the engine and its adapters know of time."""

    def now_us(self) -> int:
        """Microseconds since the Unix epoch: for time stamps that people and other machines read."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start: for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait without blocking the loop."""
        ...


class Dice(Protocol):
    """Randomness for jitter. Never for anything that a guarantee rests on."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...


class Ids(Protocol):
    """Identities that no other machine will mint again."""

    def identity(self) -> str:
        """Return a new identity, as 32 hexadecimal digits."""
        ...

    def secret(self) -> bytes:
        """Return 32 unpredictable bytes."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemDice:
    """The interpreter's generator, seeded by the machine."""

    def random(self) -> float:
        return random.random()  # noqa: S311 (jitter, not a secret)


class SystemIds:
    """Random UUIDs and the machine's secret source."""

    def identity(self) -> str:
        return uuid.uuid4().hex

    def secret(self) -> bytes:
        return secrets.token_bytes(32)
