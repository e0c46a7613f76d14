"""A worker process whose model is a service far away: `python -m bench.kafka_worker CONFIG`.

It says on its standard output which partitions it has, a line of JSON each time that changes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.kafka_site import STREAM
from headwater.clock import SystemDice
from headwater.embedding.courier import Courier
from headwater.embedding.port import Description, Embedded, Embedder, Purpose
from headwater.engine.supervisor import StreamWorker
from headwater.observability.signals import Event
from headwater.wiring import open_site

CALL_S = 0.040
TEXT_S = 0.002


class Remote:
    """Answers like `inner` after the time that a service takes, which serves one call of a worker at a time."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self._turn = asyncio.Semaphore(1)

    def describe(self) -> Description:
        return self._inner.describe()

    async def open(self) -> None:
        await self._inner.open()

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        async with self._turn:
            await asyncio.sleep(CALL_S + TEXT_S * len(texts))
            return await self._inner.embed(texts, purpose)

    async def close(self) -> None:
        await self._inner.close()


async def work(config: Path) -> None:
    """Serve until killed."""

    def hear(event: Event, fields: Mapping[str, Any]) -> None:
        if event is Event.PARTITIONS_MOVED:
            print(json.dumps(fields), flush=True)

    site = open_site(config, {})
    try:
        await site.journal.prepare()
        ports = site.ports(STREAM, hear)
        remote = msgspec.structs.replace(
            ports, courier=Courier(Remote(site.embedder(ports.name)), site.clock, SystemDice())
        )
        await StreamWorker(remote, site.machine(hear)).run(once=False)
    finally:
        await site.close()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
