"""What the gateway itself costs of a processor, beside a bare loop over the same HTTP client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import cycle, islice

import httpx2
import msgspec

from bench.gateway_site import AT_ONCE, BATCH, SECONDS, WARM_UP_S, Service, Span, backlog, gateway, service, texts
from bench.report import Figure
from headwater.rehearsal.record import Record

#: The loops take turns, so that whatever else the machine does meets both.
TURNS = 4
DIMENSIONS = 384
#: More than ever wait at once, so that none is asked for twice at the same time.
TEXTS = 512 * BATCH


async def measure(seconds: float = SECONDS) -> list[Figure]:
    """A service that takes no time. Texts and bodies are made before, and tokens are not counted."""
    pool = list(islice(texts("cost"), TEXTS))
    bodies = [body(pool[at : at + BATCH]) for at in range(0, TEXTS, BATCH)]
    own, posted = cycle(pool), cycle(bodies)
    ours: list[Span] = []
    bare: list[Span] = []
    with service({"dimensions": DIMENSIONS, "max_texts": BATCH}) as provider:
        for _ in range(TURNS):
            ours.append(await _spanned(provider, _embedding(provider, own), seconds))
            bare.append(await _spanned(provider, _posting(provider, posted), seconds))
        record = provider.record
    per_text, http = _us_per_text(record, ours), _us_per_text(record, bare)
    return [
        Figure(f"the gateway's own cost, batches of {BATCH}, {DIMENSIONS} dimensions, base64", "us/text",
               per_text - http, target="<= 30"),
        Figure("all that a text costs, against a loop that only posts the bodies", "us/text", per_text, http,
               per_text / http),
    ]  # fmt: skip


def body(texts: list[str]) -> bytes:
    """Return a request as the gateway sends it."""
    return msgspec.json.encode({"model": "fake-embedding", "input": texts, "encoding_format": "base64"})


async def _spanned(provider: Service, load: AbstractAsyncContextManager[None], seconds: float) -> Span:
    async with load:
        return await provider.measure(seconds / TURNS, WARM_UP_S / TURNS)


@asynccontextmanager
async def _embedding(provider: Service, texts: Iterator[str]) -> AsyncIterator[None]:
    async with provider.courier() as courier, backlog(gateway(courier, "cost"), texts):
        yield


@asynccontextmanager
async def _posting(provider: Service, bodies: Iterator[bytes]) -> AsyncIterator[None]:
    """Post bodies, as many at once as the service of the other figures takes; read the answers and look at none."""
    ended = asyncio.Event()
    headers = {"Content-Type": "application/json"}
    async with httpx2.AsyncClient(timeout=60.0) as client, asyncio.TaskGroup() as posting:

        async def post() -> None:
            while not ended.is_set():
                answer = await client.post(f"{provider.url}/embeddings", content=next(bodies), headers=headers)
                assert answer.status_code == 200

        for _ in range(AT_ONCE):
            posting.create_task(post())
        yield
        ended.set()


def _us_per_text(record: Record, spans: list[Span]) -> float:
    cpu_s = sum(span.core * span.seconds for span in spans)
    return cpu_s / sum(span.texts_per_s(record) * span.seconds for span in spans) * 1e6
