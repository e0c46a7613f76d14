"""Live texts beside a replay that wants all of the service: what each lane gets, and how long a live text waits."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from bench.gateway_site import (
    AT_ONCE,
    BATCH_TAKES_S,
    CEILING,
    SECONDS,
    SERVICE,
    WARM_UP_S,
    Service,
    Span,
    backlog,
    gateway,
    part,
    service,
    texts,
)
from bench.report import Figure, percentile
from headwater.embedding.gateway import Gateway
from headwater.embedding.lanes import Lane, Policy
from headwater.rehearsal.record import Record, digest_of

#: Live texts a second, where they are few; the slices of each arm; and how long a slice is, warm-up apart.
RATE = 20.0
SLICES = 4
SLICE_S = 15.0
RESERVE = 0.25
#: Of what the service can do at all.
BUSY = 0.95


@dataclass
class Arm:
    """One way to treat live texts: how long each waited, and what the replay beside them had."""

    gateway: Gateway
    replay: Gateway | None
    waits: list[float] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)


async def freshness(slices: int = SLICES, seconds: float = SLICE_S) -> list[Figure]:
    """Live texts alone, beside a replay with a reserve, and beside one without, in turns."""
    own: set[str] = set()
    with service(SERVICE) as provider:
        async with AsyncExitStack() as stack:
            kept = await stack.enter_async_context(provider.courier(policy=Policy(reserve=RESERVE)))
            free = await stack.enter_async_context(provider.courier(policy=Policy()))
            alone = Arm(gateway(kept, "live"), None)
            reserved = Arm(gateway(kept, "live"), gateway(kept, "replay", Lane.REPLAY))
            unreserved = Arm(gateway(free, "live"), gateway(free, "replay", Lane.REPLAY))
            live, past = Live(texts("live"), own), texts("replay")
            for _ in range(slices):
                for arm in (alone, reserved, unreserved):
                    await _slice(provider, arm, live, past, seconds)
        record = provider.record
    p99 = [percentile(arm.waits, 0.99) for arm in (alone, reserved, unreserved)]
    changes = min(len(arm.waits) for arm in (alone, reserved, unreserved))
    return [
        Figure(f"live p99 beside a replay, a reserve of {RESERVE:g}, {changes} changes", "s", p99[1],
               1.2 * p99[0] + 0.05, p99[1] / (1.2 * p99[0] + 0.05), "<= 1"),
        Figure("live p99 beside a replay, no reserve", "s", p99[2], p99[0] + BATCH_TAKES_S,
               p99[2] / (p99[0] + BATCH_TAKES_S), "<= 1"),
        Figure("live p99 alone", "s", p99[0]),
        replayed("a replay, of what live texts and the reserve leave", record, own, reserved.spans, RESERVE),
        replayed("a replay, of what live texts leave", record, own, unreserved.spans, 0.0),
    ]  # fmt: skip


async def minimum(seconds: float = SECONDS) -> list[Figure]:
    """Live texts want 95 % of the service."""
    own: set[str] = set()
    policy = Policy(reserve=RESERVE)
    with service(SERVICE) as provider:
        async with provider.courier(policy=policy) as courier:
            arm = Arm(gateway(courier, "live"), gateway(courier, "replay", Lane.REPLAY))
            live = Live(texts("live"), own)
            await _slice(provider, arm, live, texts("replay"), seconds, BUSY * CEILING)
        record = provider.record
    span = arm.spans[0]
    live_rate, replay_rate = (span.texts_per_s(it) for it in _lanes(record, own))
    share = replay_rate / (live_rate + replay_rate)
    return [
        Figure(f"a replay's share, live texts want {BUSY:g} of the service", "of all texts", share, policy.minimum,
               share / policy.minimum, ">= 1"),
        Figure(f"live texts that want {BUSY:g} of the service", "texts/s", live_rate, BUSY * CEILING,
               live_rate / (BUSY * CEILING)),
    ]  # fmt: skip


class Live:
    """Single texts that come at random. Their digests tell their requests from the replay's."""

    def __init__(self, source: Iterator[str], digests: set[str]) -> None:
        self._source = source
        self._digests = digests
        self._dice = random.Random(0)

    async def play(self, gateway: Gateway, rate: float, seconds: float) -> list[tuple[float, float]]:
        """Return when each text was due and how long it waited since then, be it for this process."""
        done: list[tuple[float, float]] = []

        async def one(due: float, text: str) -> None:
            await gateway.embed([text])
            done.append((due, time.monotonic() - due))

        began = due = time.monotonic()
        async with asyncio.TaskGroup() as waiting:
            while (due := due + self._dice.expovariate(rate)) < began + seconds:
                if (early := due - time.monotonic()) > 0:
                    await asyncio.sleep(early)
                text = next(self._source)
                self._digests.add(digest_of(text))
                waiting.create_task(one(due, text))
        return done


async def _slice(
    provider: Service, arm: Arm, live: Live, past: Iterator[str], seconds: float, rate: float = RATE
) -> None:
    """Let one arm have the service for a while, and note what came of it after the warm-up."""
    async with AsyncExitStack() as stack:
        if arm.replay is not None:
            await stack.enter_async_context(backlog(arm.replay, past))
        began = time.monotonic()
        playing = asyncio.ensure_future(live.play(arm.gateway, rate, WARM_UP_S + seconds))
        arm.spans.append(await provider.measure(seconds))
        arm.waits += [waited for due, waited in await playing if due >= began + WARM_UP_S]


def _lanes(record: Record, own: set[str]) -> tuple[Record, Record]:
    """Return the record of live texts, and that of the others. A request holds texts of one lane."""
    live = [entry for entry in record.entries if not own.isdisjoint(entry.digests)]
    numbers = {entry.number for entry in live}
    return part(record, live), part(record, (entry for entry in record.entries if entry.number not in numbers))


def replayed(name: str, record: Record, own: set[str], spans: list[Span], reserve: float) -> Figure:
    """Return how much a replay got, against what was left to it by the time that live requests took."""
    live, replay = _lanes(record, own)
    seconds = sum(span.seconds for span in spans)
    busy_us = sum(entry.end_us - entry.start_us for span in spans for entry in span.of(live).entries)
    left = (1 - reserve - busy_us / 1e6 / AT_ONCE / seconds) * CEILING
    rate = sum(span.texts_per_s(replay) * span.seconds for span in spans) / seconds
    return Figure(name, "texts/s", rate, left, rate / left, ">= 0.9")
