"""A log reader that starts earlier than the group's committed offsets: for an index that is behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping

from headwater.log.port import Batch, LogHistory, LogReader
from headwater.model.change import Record
from headwater.model.receipt import Settlement


class Rewound:
    """Wraps a LogReader: of each partition it hands out the records from `starts` on, first those from history.

    Memory stays bounded by what one poll asks for.
    """

    def __init__(self, inner: LogReader, history: LogHistory, starts: Mapping[int, int]) -> None:
        self._inner = inner
        self._history = history
        self._starts = dict(starts)
        self._backlog: deque[AsyncIterator[Record]] = deque()
        self._held: Batch = Batch()

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        """As the port says; the records before the committed offset come first."""
        if self._backlog:
            return Batch(records=await self._page(max_records, max_bytes))
        if self._held.records:
            held, self._held = self._held, Batch()
            return Batch(records=held.records)
        batch = await self._inner.poll(max_records, max_bytes, wait_s)
        assigned = dict(batch.assigned)
        for partition, committed in batch.assigned.items():
            start = self._starts.pop(partition, committed)
            if start < committed:
                assigned[partition] = start
                self._backlog.append(self._history.read(partition, start, committed))
        if not self._backlog:
            return batch
        self._held = Batch(records=batch.records)
        return Batch(assigned=assigned, revoked=batch.revoked)

    async def _page(self, max_records: int, max_bytes: int) -> list[Record]:
        page: list[Record] = []
        size = 0
        while self._backlog and len(page) < max_records and size < max_bytes:
            try:
                record = await anext(self._backlog[0])
            except StopAsyncIteration:
                self._backlog.popleft()
                continue
            page.append(record)
            size += record.size_bytes
        return page

    async def settle(self, settlement: Settlement) -> None:
        """As the port says: offsets before the committed ones change nothing, receipts are written."""
        await self._inner.settle(settlement)

    async def pause(self, partitions: frozenset[int]) -> None:
        """As the port says."""
        await self._inner.pause(partitions)

    async def resume(self, partitions: frozenset[int]) -> None:
        """As the port says."""
        await self._inner.resume(partitions)

    async def close(self) -> None:
        """As the port says."""
        await self._inner.close()
