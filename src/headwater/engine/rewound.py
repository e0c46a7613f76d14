"""A log reader that starts earlier than the group's committed offsets: for an index that is behind them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from headwater.log.port import Batch, LogHistory, LogReader
from headwater.model.change import Record
from headwater.model.receipt import Settlement


class Rewound:
    """Wraps a LogReader: of each partition it hands out the records from `starts` on, first those from history.

    Memory stays bounded by what one poll asks for. A partition that is assigned again begins where it is settled in the
    index, and history that could not be read is read again: nothing between is skipped.
    """

    def __init__(self, inner: LogReader, history: LogHistory, starts: Mapping[int, int]) -> None:
        self._inner = inner
        self._history = history
        self._starts = dict(starts)
        self._backlog: deque[tuple[int, int, int]] = deque()  # (partition, next offset, end)
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
            start = self._starts.get(partition, committed)
            if start < committed:
                assigned[partition] = start
                self._backlog.append((partition, start, committed))
        if not self._backlog:
            return batch
        self._held = Batch(records=batch.records)
        return Batch(assigned=assigned, revoked=batch.revoked)

    async def _page(self, max_records: int, max_bytes: int) -> list[Record]:
        page: list[Record] = []
        size = 0
        while self._backlog and not page:
            partition, start, end = self._backlog[0]
            async for record in self._history.read(partition, start, end):
                if page and (len(page) >= max_records or size + record.size_bytes > max_bytes):
                    break
                page.append(record)
                size += record.size_bytes
            else:
                self._backlog.popleft()
                continue
            self._backlog[0] = (partition, page[-1].offset + 1, end)
        return page

    async def settle(self, settlement: Settlement) -> None:
        """As the port says: offsets before the committed ones change nothing, receipts are written."""
        await self._inner.settle(settlement)
        for partition in settlement.frontier.keys() & self._starts.keys():
            self._starts[partition] = max(self._starts[partition], settlement.frontier[partition])

    async def pause(self, partitions: frozenset[int]) -> None:
        """As the port says."""
        await self._inner.pause(partitions)

    async def resume(self, partitions: frozenset[int]) -> None:
        """As the port says."""
        await self._inner.resume(partitions)

    async def close(self) -> None:
        """As the port says."""
        await self._inner.close()
