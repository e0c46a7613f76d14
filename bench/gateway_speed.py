"""The gateway under load: a service's capacity, an account's budget, a storm of refusals, and calls that fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import islice
from typing import Any

import httpx2
import msgspec

from bench.gateway_site import (
    BATCH,
    BATCH_TAKES_S,
    CEILING,
    SECONDS,
    SERVICE,
    Service,
    Span,
    backlog,
    gateway,
    service,
    texts,
)
from bench.report import Figure
from headwater.clock import SystemClock
from headwater.embedding.budget import Budget
from headwater.embedding.sharing.borrower import Borrower
from headwater.rehearsal.plan import WindowKind
from headwater.rehearsal.record import Record
from headwater.testing.shares import MemoryShares

#: About half of what the service can do, in each window.
WINDOW_S = 10.0
WINDOWS = 3
TOKENS = 800_000
#: The service can do 27 batches a second: an unpaced client that sends so many has 30 % of them refused.
REQUESTS = 19
ALLOWED = 1.0
BATCHES = 1_000


async def capacity(seconds: float = SECONDS) -> list[Figure]:
    """All that the service can do, which nobody says."""
    with service(SERVICE) as provider:
        span = await _loaded(provider, seconds)
        rate = span.texts_per_s(provider.record)
    name = f"embedded by a service of 40 ms + 2 ms a text, 8 at once, batches of {BATCH}"
    return [Figure(name, "texts/s", rate, CEILING, rate / CEILING, ">= 0.95")]


async def budget(windows: int = WINDOWS) -> list[Figure]:
    """A budget of tokens that only the headers of the answers say."""
    figures = []
    for kind in WindowKind:
        with service(_limited(kind)) as provider:
            span = await _loaded(provider, (windows + 1) * WINDOW_S, Budget(window_s=WINDOW_S))
            figures += _spent(f"token budget, {kind} windows of {WINDOW_S:g} s", provider.record, span, ">= 0.97")
    return figures


async def lending(windows: int = WINDOWS) -> list[Figure]:
    """Two workers of one account, of which one has all the traffic."""
    with service(_limited(WindowKind.SLIDING)) as provider:
        shares, clock = MemoryShares(), SystemClock()
        async with AsyncExitStack() as stack:
            couriers, borrowing = [], []
            for worker in ("one", "two"):
                account = Budget(window_s=WINDOW_S)
                couriers.append(await stack.enter_async_context(provider.courier(account)))
                borrower = Borrower(shares, "account", worker, account, clock)
                borrowing.append(asyncio.ensure_future(borrower.run()))
            stack.callback(lambda: [it.cancel() for it in borrowing])
            # The other one has used the account, and knows its limits.
            await gateway(couriers[1], "two").embed(list(islice(texts("two"), BATCH)))
            await stack.enter_async_context(backlog(gateway(couriers[0], "one"), texts("one")))
            # What a worker needs it has lent after some windows.
            span = await provider.measure((windows + 1) * WINDOW_S, 2 * WINDOW_S)
        return _spent("token budget of two workers, all traffic on one", provider.record, span, ">= 0.9")


async def storm(seconds: float = SECONDS) -> list[Figure]:
    """A limit of requests that refuses a third of what the service could do, said in three ways."""
    said: dict[str, dict[str, Any]] = {
        "said in headers": {},
        "unsaid but Retry-After": {"rate_limit_headers": "none"},
        "unsaid": {"rate_limit_headers": "none", "retry_after": "none"},
    }
    limit = {"window_s": ALLOWED, "requests": REQUESTS}
    figures = []
    with service({**SERVICE, "limits": [limit]}) as provider:
        asked = (await _unpaced(provider, seconds)).of(provider.record)
        refused = sum(entry.status == 429 for entry in asked.entries) / len(asked.entries)
        figures.append(Figure("storm: an unpaced client's requests that are refused", "share", refused, 0.3))
    for how, changes in said.items():
        with service({**SERVICE, "limits": [limit], **changes}) as provider:
            span = await _loaded(provider, seconds, Budget(window_s=ALLOWED))
            asked = span.of(provider.record)
            useful = sum(entry.status == 200 for entry in asked.entries)
            most = span.seconds / ALLOWED * REQUESTS
            figures += [
                Figure(f"storm, limit {how}: useful requests", "requests", useful, most, useful / most, ">= 0.9"),
                Figure(f"storm, limit {how}: requests for each useful one", "requests", len(asked.entries), useful,
                       len(asked.entries) / useful, "<= 1.1"),
            ]  # fmt: skip
    return figures


async def failing(batches: int = BATCHES) -> list[Figure]:
    """One request in twenty fails. All that was begun is ended, so that every repeat counts."""
    behaviour = {**SERVICE["behaviour"], "shares": {"server_error": 0.05}}
    with service({**SERVICE, "behaviour": behaviour}) as provider:
        await _loaded(provider, 1.1 * batches * BATCH / CEILING)
        record = provider.record
    embedded, requests = record.embedded_per_text(), record.requests_per_batch()
    done = sum(entry.embedded for entry in record.entries)
    assert done >= batches, f"{done} batches are too few"
    return [
        Figure("5 % fail: texts embedded for each text", "texts", record.embedded().total(), len(record.embedded()),
               embedded, "<= 1.02"),
        Figure("5 % fail: requests for each batch", "requests", len(record.entries), done, requests, "<= 1.09"),
    ]  # fmt: skip


async def _loaded(provider: Service, seconds: float, budget: Budget | None = None) -> Span:
    """Put one stream through one worker that is never without texts."""
    async with provider.courier(budget) as courier, backlog(gateway(courier, "stream"), texts("stream")):
        return await provider.measure(seconds)


def _limited(kind: WindowKind) -> dict[str, Any]:
    return {**SERVICE, "limits": [{"window_s": WINDOW_S, "tokens": TOKENS, "kind": kind}]}


def _spent(name: str, record: Record, span: Span, target: str) -> list[Figure]:
    """Return how much of the budget was used in a span, and the most that was asked for in any window of the run."""
    spent = spent_in_windows(record, span.from_us, span.until_us)
    allowed = TOKENS * (span.seconds / WINDOW_S - 1)
    most = record.most("tokens", round(WINDOW_S * 1e6), record.plan.limits[0].kind, refused_too=True)
    refused = sum(entry.status == 429 for entry in record.entries)
    return [
        Figure(f"{name}: used", "tokens", spent, allowed, spent / allowed, target),
        Figure(f"{name}: asked in the fullest window", "tokens", most, TOKENS, most / TOKENS, "<= 1"),
        Figure(f"{name}: refused requests", "requests", refused, target="<= 0"),
    ]


def spent_in_windows(record: Record, from_us: int, until_us: int) -> float:
    """Return the tokens that were admitted in a time one window shorter than this one, on average over all the places
    where it may begin. They come in bursts, one a window, and where a burst is cut must not matter.
    """
    edge_us = WINDOW_S * 1e6
    admitted = ((entry.at_us, entry.tokens) for entry in record.entries if entry.admitted)
    return sum(tokens * min(1.0, max(0.0, min(at - from_us, until_us - at) / edge_us)) for at, tokens in admitted)


async def _unpaced(provider: Service, seconds: float) -> Span:
    """Send batches as fast as the service could do them, whatever it answers."""
    bodies = _bodies(texts("unpaced"))
    async with httpx2.AsyncClient(timeout=60.0) as client, asyncio.TaskGroup() as calls:
        headers = {"Content-Type": "application/json"}
        measuring = asyncio.ensure_future(provider.measure(seconds))
        due = time.monotonic()
        while not measuring.done():
            calls.create_task(client.post(f"{provider.url}/embeddings", content=next(bodies), headers=headers))
            due += BATCH_TAKES_S / SERVICE["at_once"]
            await asyncio.sleep(due - time.monotonic())
        return await measuring


def _bodies(source: Iterator[str]) -> Iterator[bytes]:
    while True:
        body = {"model": "fake-embedding", "input": list(islice(source, BATCH)), "encoding_format": "base64"}
        yield msgspec.json.encode(body)
