"""A faulty provider in a process of its own, gateways of this process before it, and streams that are never at rest.

What the service did is read from its own record. Times are microseconds since its start, as there.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import psutil

from headwater.clock import SystemClock, SystemDice
from headwater.embedding.budget import Budget
from headwater.embedding.courier import Courier
from headwater.embedding.gateway import Gateway
from headwater.embedding.lanes import Lane, Policy
from headwater.embedding.port import PROBE, Embedder
from headwater.embedding.providers.options import ProviderOptions
from headwater.embedding.providers.registry import embedder
from headwater.patience import Patience
from headwater.rehearsal.record import Entry, Opening, Record, digest_of
from tests.provider.provider import Provider

WARM_UP_S = 5.0
#: What every measurement takes at the least, warm-up apart.
SECONDS = 30.0

#: The service of the issue: 40 ms a batch and 2 ms an item, so many requests at once.
BATCH_S, ITEM_S, AT_ONCE = 0.040, 0.002, 8
#: The largest batch that service and client allow.
BATCH = 128
SERVICE: dict[str, Any] = {
    "at_once": AT_ONCE,
    "max_texts": BATCH,
    "behaviour": {"batch_ms": BATCH_S * 1e3, "item_ms": ITEM_S * 1e3},
}
#: How long the service takes for such a batch, and how many texts it can embed in a second.
BATCH_TAKES_S = BATCH_S + ITEM_S * BATCH
CEILING = AT_ONCE * BATCH / BATCH_TAKES_S

#: A stream under load has so many orders of so many texts under way: several batches for each of the service's places.
ORDERS, ORDER = 16, 256
_DRAINED_S = 60.0
_PROBE = digest_of(PROBE)
_WORDS = "the measured level of the reservoir above the weir in the morning and what the gauge below it said " * 4


@dataclass(frozen=True)
class Span:
    """A time that was measured, and how much of a core this process took in it."""

    from_us: int
    until_us: int
    core: float

    @property
    def seconds(self) -> float:
        return (self.until_us - self.from_us) / 1e6

    def of(self, record: Record) -> Record:
        """Return what arrived in it."""
        return record.between(self.from_us, self.until_us)

    def texts_per_s(self, record: Record) -> float:
        """Return how many texts of streams were embedded a second in it: not the probes that travel with them."""
        own = (msgspec.structs.replace(it, texts=it.texts - it.digests.count(_PROBE)) for it in record.entries)
        return part(record, own).texts_per_s(self.from_us, self.until_us)


class Service:
    """The provider, as the bench looks at it."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._process = psutil.Process(provider.process.pid)
        self.started_at_us = provider.record.started_at_us

    @property
    def url(self) -> str:
        return f"{self._provider.url}/v1"

    @property
    def record(self) -> Record:
        return self._provider.record

    def now_us(self) -> int:
        return SystemClock().now_us() - self.started_at_us

    def embedder(self) -> Embedder:
        return embedder("openai/fake-embedding", ProviderOptions(model="", url=self.url, max_texts=BATCH))

    @asynccontextmanager
    async def courier(self, budget: Budget | None = None, policy: Policy | None = None) -> AsyncIterator[Courier]:
        courier = Courier(self.embedder(), SystemClock(), SystemDice(), budget=budget, policy=policy)
        await courier.open()
        try:
            yield courier
        finally:
            await courier.close()

    async def measure(self, seconds: float, warm_up_s: float = WARM_UP_S) -> Span:
        """Let time pass, first the warm-up. Say what the processes took, so that a busy machine shows."""
        await asyncio.sleep(warm_up_s)
        began, began_us, cpu_s, service_s = time.monotonic(), self.now_us(), time.process_time(), self._cpu_s()
        await asyncio.sleep(seconds)
        took_s = time.monotonic() - began
        core = (time.process_time() - cpu_s) / took_s
        service = (self._cpu_s() - service_s) / took_s
        print(f"  client {core:.2f}, service {service:.2f} of a core; load {os.getloadavg()[0]:.1f}", flush=True)
        return Span(began_us, self.now_us(), core)

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def service(plan: dict[str, Any]) -> Iterator[Service]:
    """Start a provider with a plan; end it."""
    with tempfile.TemporaryDirectory() as name:
        provider = Provider(Path(name) / "provider", plan)
        try:
            yield Service(provider)
        finally:
            provider.close()


def gateway(courier: Courier, stream: str, lane: Lane = Lane.LIVE) -> Gateway:
    clock, dice = SystemClock(), SystemDice()
    return Gateway(courier, stream, Patience(clock, dice, lambda outage, dependency: None), lane=lane)


def texts(stream: str, seed: int = 0) -> Iterator[str]:
    """Yield texts of 80 to 320 characters without end, each of them once."""
    dice = random.Random(seed)
    number = 0
    while True:
        number += 1
        yield f"{stream} {number}: {_WORDS[: dice.randint(80, 320)]}"


@asynccontextmanager
async def backlog(gateway: Gateway, texts: Iterator[str], orders: int = ORDERS) -> AsyncIterator[None]:
    """Keep so many orders under way; at the end, wait for those that are."""
    ended = asyncio.Event()

    async def produce() -> None:
        while not ended.is_set():
            await gateway.embed(list(islice(texts, ORDER)))

    producers = [asyncio.ensure_future(produce()) for _ in range(orders)]
    try:
        yield
        ended.set()
        async with asyncio.timeout(_DRAINED_S):
            await asyncio.gather(*producers)
    finally:
        for producer in producers:
            producer.cancel()
        await asyncio.gather(*producers, return_exceptions=True)


def part(record: Record, entries: Iterable[Entry]) -> Record:
    """Return a record of some of its requests."""
    return Record(Opening(record.started_at_us, record.plan), entries)
