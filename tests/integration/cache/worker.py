"""A process that works with a cache file: `python -m tests.integration.cache.worker FILE TENANT ROUNDS`.

It puts, asks, forgets, holds and releases, says `begun` after its first round, and at the end what the cache said. A
wrong vector, or a cost that is not that of what it held, is its end, with an AssertionError.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from headwater.embedding.cache import Space, key_of
from headwater.embedding.cache_sqlite import SqliteCache
from headwater.errors import HeadwaterError, Retry
from headwater.testing.cache_contract import OURS, TIGHT, found, held_of, vectors_of

T = TypeVar("T")


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Do it as often as it takes: while others work with the file, what must not fail silently may have to wait."""
    for _ in range(500):
        try:
            return await call()
        except Retry:
            await asyncio.sleep(0.01)
    raise AssertionError("it could never be done")


async def buy_ahead(cache: SqliteCache, space: Space, texts: Sequence[str]) -> None:
    """Hold texts for a document of this process, find them, and be told once what they cost."""
    stream, whole = str(os.getpid()), {"one": held_of(space, *texts)}
    await insist(lambda: cache.hold(space, stream, whole))
    assert await found(cache, space, texts) == texts
    assert await insist(lambda: cache.release(space.tenant, stream, ["one", "two"])) == {"one": len(texts)}
    assert await cache.release(space.tenant, stream, ["one"]) == {}


async def work(path: Path, tenant: str, rounds: int) -> None:
    said: list[HeadwaterError] = []
    cache = SqliteCache(path, TIGHT, said.append)
    space = OURS._replace(tenant=tenant)
    hits = 0
    for at in range(rounds):
        # Every text comes again some rounds later, before and after it was evicted.
        texts = [f"text {number}" for number in range(at * 32 % 1024, at * 32 % 1024 + 64)]
        hits += len(await found(cache, space, texts))
        await cache.put(space, vectors_of(space, texts))
        if at % 16 == 15:
            # None that others hold: who has to hold again what was erased in between counts its cost twice.
            await insist(partial(cache.forget, tenant, [key_of(texts[-1]).digest]))
            await buy_ahead(cache, space, texts[:4])
        if at == 0:
            print("begun", flush=True)
    await cache.close()
    print(f"{hits} hits", *said, sep="\n")


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
