"""What the loop reads from: a log reader that begins where the index needs it to, and that reports every gap (G12).

An index may be behind the group's committed offsets: it is new, or was restored from a backup. What it lacks is read
from history first. Where to begin is looked up at each assignment, because other workers have moved on meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from headwater.clock import Clock
from headwater.errors import Changed, Halt
from headwater.log.port import Batch, LogHistory, LogReader
from headwater.model.change import Record
from headwater.model.receipt import Settlement

#: Told the committed offset of each partition that was assigned, it tells from where the index needs each.
Starts = Callable[[Mapping[int, int]], Awaitable[Mapping[int, int]]]

REBUILD = "Build a new index from the log, or restore a newer backup of the index"


class _Range(NamedTuple):
    partition: int
    start: int
    end: int


class Intake:
    """Wraps a LogReader: of each partition it hands out the records from its start on, first those from history.

    Memory stays bounded by what one poll asks for. History that could not be read is read again, an assignment whose
    start could not be looked up is looked up again: nothing between is skipped.
    """

    def __init__(self, inner: LogReader, history: LogHistory, starts: Starts, partitions: int, clock: Clock) -> None:
        self._inner = inner
        self._history = history
        self._starts = starts
        self._partitions = partitions
        self._clock = clock
        self._news: Batch | None = None  # an assignment whose starts are still to be looked up
        self._backlog: deque[_Range] = deque()
        self._held: Batch | None = None  # what comes after the backlog
        self._began_s = clock.monotonic()

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        """As the port says; the records before the committed offset come first. Raise Changed when the log has other
        partitions than the stream was opened with.
        """
        if self._news is None:
            behind = self._held is not None
            batch = await self._inner.poll(0 if behind else max_records, max_bytes, 0.0 if behind else wait_s)
            if not batch.assigned and not batch.revoked:
                return await self._go_on(batch, max_records, max_bytes) if behind else batch
            self._news = batch
        return await self._obey(self._news)

    async def _obey(self, news: Batch) -> Batch:
        """Hand out an assignment, with what has to be read from history noted."""
        if unknown := sorted(partition for partition in news.assigned if partition >= self._partitions):
            raise Changed(f"the log has {unknown[-1] + 1} partitions or more, and had {self._partitions}")
        starts = await self._starts(news.assigned) if news.assigned else {}
        self._news = None
        moved = news.assigned.keys() | news.revoked
        backlog = [it for it in self._backlog if it.partition not in moved]
        backlog += [_Range(it, starts[it], at) for it, at in news.assigned.items() if starts[it] < at]
        held = self._held or Batch()
        records = [record for record in held.records if record.partition not in moved]
        ends = {partition: at for partition, at in held.ends.items() if partition not in moved}
        later = Batch(records=[*records, *news.records], ends={**ends, **news.ends})
        self._backlog = deque(backlog)
        assigned = {partition: min(at, starts[partition]) for partition, at in news.assigned.items()}
        if not backlog and not records and not ends:
            self._held = None
            return Batch(news.records, assigned, news.revoked, news.ends)
        self._held = later
        return Batch(assigned=assigned, revoked=news.revoked)

    async def _go_on(self, batch: Batch, max_records: int, max_bytes: int) -> Batch:
        """Hand out the next of the backlog, then what was held back for it."""
        assert self._held is not None
        held = self._held = Batch(records=self._held.records, ends={**self._held.ends, **batch.ends})
        if max_records == 0:
            return Batch()
        if self._backlog:
            return Batch(records=await self._page(max_records, max_bytes))
        self._held = None
        return held

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
                await self._check(partition, start, page)
                self._backlog.popleft()
                continue
            await self._check(partition, start, page)
            self._backlog[0] = _Range(partition, page[-1].offset + 1, end)
        return page

    async def _check(self, partition: int, start: int, page: list[Record]) -> None:
        """Raise Halt when history was trimmed before it was read, or took so long that delete markers are gone."""
        if not page or page[0].offset > start:
            low = (await self._history.watermarks())[partition].low
            if low > start:
                detail = f"partition {partition} is needed from offset {start}, and the log begins at {low}"
                raise Halt("log-truncation-gap", detail, REBUILD)
        life_s = await self._history.marker_life_s()
        if life_s is not None and self._clock.monotonic() - self._began_s > life_s:
            detail = f"this pass has taken longer than the {life_s:.0f} s for which the topic keeps delete markers"
            raise Halt("missed-delete-marker", detail, "Raise delete.retention.ms, then build a new index from the log")

    async def settle(self, settlement: Settlement) -> None:
        """As the port says: offsets before the committed ones change nothing, receipts are written."""
        await self._inner.settle(settlement)

    async def close(self) -> None:
        """As the port says."""
        await self._inner.close()
