"""Wrappers that change nothing: to begin one with that changes a call or two."""

from __future__ import annotations

from headwater.log.port import Batch, LogReader
from headwater.model.receipt import Settlement


class PassingReader:
    """A LogReader that hands every call on."""

    def __init__(self, inner: LogReader) -> None:
        self.inner = inner

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        return await self.inner.poll(max_records, max_bytes, wait_s)

    async def settle(self, settlement: Settlement) -> None:
        await self.inner.settle(settlement)

    async def close(self) -> None:
        await self.inner.close()
