"""A process that works with a cache file: `python -m tests.integration.cache.worker FILE TENANT ROUNDS`.

It puts, asks and forgets, says `begun` after its first round, and at the end what the cache said. A wrong vector is its
end, with an AssertionError.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from headwater.embedding.cache import key_of
from headwater.embedding.cache_sqlite import SqliteCache
from headwater.errors import HeadwaterError, Retry
from headwater.testing.cache_contract import OURS, TIGHT, found, vectors_of


async def forget(cache: SqliteCache, tenant: str, text: str) -> None:
    """Forget a text, as often as it takes: while others work with the file, erasure may have to wait."""
    for _ in range(500):
        try:
            return await cache.forget(tenant, [key_of(text).digest])
        except Retry:
            await asyncio.sleep(0.01)
    raise AssertionError("it could never be forgotten")


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
            await forget(cache, tenant, texts[0])
        if at == 0:
            print("begun", flush=True)
    await cache.close()
    print(f"{hits} hits", *said, sep="\n")


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
