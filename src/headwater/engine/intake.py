"""What the loop reads from: a log reader that begins where the index needs it to, and that reports every gap (G12).

An index may be behind the group's committed offsets: it is new, or was restored from a backup. What it lacks is read
from history first. Where to begin is looked up at each assignment, because other workers have moved on meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec

from headwater.clock import Clock
from headwater.engine.markers import Trail, check
from headwater.errors import Changed, Halt, HeadwaterError, Lost, Unreachable
from headwater.log.port import Batch, LogHistory, LogReader
from headwater.log.rules import REBUILD
from headwater.model.change import Record
from headwater.model.receipt import CaughtUp, Settlement
from headwater.model.registry import Epoch


class Start(NamedTuple):
    """From where the index needs a partition. `caught` says how current it is there; None where no change ever goes."""

    offset: int
    caught: CaughtUp | None = None


#: Told the committed offset of each partition that was assigned, it tells from where the index needs each.
Starts = Callable[[Mapping[int, int]], Awaitable[Mapping[int, Start]]]

#: How often, in the life of a delete marker, it is written down that an idle partition is still read to its end.
_NOTED = 24


#: Nothing was written down yet.
_NEVER = CaughtUp(0, 0)


class _Range(NamedTuple):
    partition: int
    start: int
    end: int


class _Trails(NamedTuple):
    """Of one partition: what was handed out, and what was settled."""

    handed: Trail
    settled: Trail


class Intake:
    """Wraps a LogReader: of each partition it hands out the records from its start on, first those from history.

    Memory stays bounded by what one poll asks for. History that could not be read is read again, an assignment whose
    start could not be looked up is looked up again: nothing between is skipped.
    """

    def __init__(self, inner: LogReader, history: LogHistory, starts: Starts, epoch: Epoch, clock: Clock) -> None:
        self._inner = inner
        self._history = history
        self._starts = starts
        self._epoch = epoch
        self._clock = clock
        self._news: Batch | None = None  # an assignment whose starts are still to be looked up
        self._backlog: deque[_Range] = deque()
        self._held: Batch | None = None  # what comes after the backlog
        self._reached: dict[int, int] = {}
        self._trails: dict[int, _Trails] = {}
        self._noted: dict[int, CaughtUp] = {}
        self._life_s: float | None = None
        self._settling: tuple[Settlement, Settlement] | None = None

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        """As the port says; the records before the committed offset come first. Raise Changed when the log is not the
        one that the stream was opened with, Halt when it lacks what comes next.
        """
        batch = await self._next(max_records, max_bytes, wait_s)
        ends = {record.partition: record.offset + 1 for record in batch.records} | dict(batch.ends)
        now_us = self._clock.now_us()
        for partition, end in ends.items():
            trails = self._trails.get(partition)
            if trails is not None:
                if self._life_s is not None:
                    check(partition, trails.handed.offset, trails.handed.caught, now_us, self._life_s)
                trails.handed.move(end)
        self._reached.update(ends)
        return batch

    async def _next(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        if self._news is None:
            behind = self._held is not None
            batch = await self._read(0 if behind else max_records, max_bytes, 0.0 if behind else wait_s)
            if not batch.assigned and not batch.revoked:
                return await self._go_on(batch, max_records, max_bytes) if behind else batch
            self._news = batch
        return await self._obey(self._news)

    async def _read(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        try:
            return await self._inner.poll(max_records, max_bytes, wait_s)
        except (Halt, Unreachable):
            # A log that was made anew lacks what comes next too: that it is another one says more.
            try:
                await self.look()
            except Changed:
                raise
            except HeadwaterError:
                pass
            raise

    async def look(self) -> float | None:
        """Look whether the log is still the one that the stream was opened with, and how far it goes. Return how long
        it keeps delete markers. Raise Changed when it is another one, was made shorter, or has other partitions.
        """
        now_us, before = self._clock.now_us(), dict(self._reached)
        marks = await self._history.watermarks()
        if await self._history.identity() != self._epoch.identity:
            raise Changed("the log was made anew")
        if len(marks) != self._epoch.partitions:
            raise Changed(f"the log has {len(marks)} partitions, and had {self._epoch.partitions}")
        for partition, reached in before.items():
            if reached > marks[partition].high:
                raise Changed(f"partition {partition} ends at {marks[partition].high}, and was read up to {reached}")
        life_s = await self._history.marker_life_s()
        for partition, (handed, settled) in self._trails.items():
            if life_s is None:
                handed.renew(now_us)
                settled.renew(now_us)
            handed.look(now_us, marks[partition].high)
            settled.look(now_us, marks[partition].high)
        self._life_s = life_s
        await self._note(now_us)
        return life_s

    async def _note(self, now_us: int) -> None:
        """Write down that idle partitions are read to their ends, now and then."""
        if self._life_s is None or self._settling is not None:
            return  # a settlement under way, or to be tried again, writes it down itself
        old_us = now_us - int(self._life_s / _NOTED * 1e6)
        due = {
            at: it.settled
            for at, it in self._trails.items()
            if self._noted[at] is _NEVER or self._noted[at].at_us < old_us < it.settled.caught.at_us
        }
        if due:
            with suppress(Lost):
                await self._write({at: it.offset for at, it in due.items()}, {at: it.caught for at, it in due.items()})

    async def _write(self, frontier: Mapping[int, int], caught: Mapping[int, CaughtUp]) -> None:
        await self._inner.settle(Settlement(frontier, caught=caught))
        self._noted.update(caught)

    async def _obey(self, news: Batch) -> Batch:
        """Hand out an assignment, with what has to be read from history noted."""
        if unknown := sorted(partition for partition in news.assigned if partition >= self._epoch.partitions):
            raise Changed(f"the log has {unknown[-1] + 1} partitions or more, and had {self._epoch.partitions}")
        starts = await self._starts(news.assigned) if news.assigned else {}
        await self._begin(news, starts)
        self._news = None
        moved = news.assigned.keys() | news.revoked
        backlog = [it for it in self._backlog if it.partition not in moved]
        backlog += [_Range(it, starts[it].offset, at) for it, at in news.assigned.items() if starts[it].offset < at]
        held = self._held or Batch()
        records = [record for record in held.records if record.partition not in moved]
        ends = {partition: at for partition, at in held.ends.items() if partition not in moved}
        later = Batch(records=[*records, *news.records], ends={**ends, **news.ends})
        self._backlog = deque(backlog)
        assigned = {partition: it.offset for partition, it in starts.items()}
        if not backlog and not records and not ends:
            self._held = None
            return Batch(news.records, assigned, news.revoked, news.ends)
        self._held = later
        return Batch(assigned=assigned, revoked=news.revoked)

    async def _begin(self, news: Batch, starts: Mapping[int, Start]) -> None:
        """Begin with partitions. How current each is stands in the log before its first record is worked on: a crash
        in between would leave an index of which nobody knows.
        """
        for partition in news.assigned.keys() | news.revoked:
            self._trails.pop(partition, None)
            self._reached.pop(partition, None)
        caught = {partition: start.caught for partition, start in starts.items() if start.caught is not None}
        frontier = {
            partition: max(at, starts[partition].offset)
            for partition, at in news.assigned.items()
            if partition in caught or starts[partition].offset > at
        }
        if caught:
            self._life_s = await self._history.marker_life_s()
        if frontier:
            with suppress(Lost):  # they went meanwhile, which is the next news
                await self._write(frontier, caught)
        # Where every change is kept it is followed all the same: a log that is compacted from now on has lost none yet.
        fresh = CaughtUp(self._clock.now_us(), 0)
        for partition, start in starts.items():
            it = start.caught or fresh
            self._noted[partition] = caught.get(partition, _NEVER)
            self._trails[partition] = _Trails(Trail(start.offset, it), Trail(start.offset, it))

    async def _go_on(self, batch: Batch, max_records: int, max_bytes: int) -> Batch:
        """Hand out the next of the backlog, then what was held back for it."""
        assert self._held is not None
        held = self._held = Batch(records=self._held.records, ends={**self._held.ends, **batch.ends})
        if max_records == 0:
            return Batch()
        if self._backlog:
            return await self._page(max_records, max_bytes)
        self._held = None
        return held

    async def _page(self, max_records: int, max_bytes: int) -> Batch:
        page: list[Record] = []
        ends: dict[int, int] = {}
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
                ends[partition] = end  # there may be a gap before it, of which the reader behind it knows nothing
                continue
            await self._check(partition, start, page)
            self._backlog[0] = _Range(partition, page[-1].offset + 1, end)
        return Batch(records=page, ends=ends)

    async def _check(self, partition: int, start: int, page: list[Record]) -> None:
        """Raise Halt when history was trimmed before it was read."""
        if not page or page[0].offset > start:
            low = (await self._history.watermarks())[partition].low
            if low > start:
                detail = f"partition {partition} is needed from offset {start}, and the log begins at {low}"
                raise Halt("log-truncation-gap", detail, REBUILD)

    async def settle(self, settlement: Settlement) -> None:
        """As the port says; how current the partitions are goes with it. A repeat says the very same."""
        if self._news is not None and (moved := settlement.frontier.keys() & self._news.assigned.keys()):
            self._settling = None
            raise Lost(frozenset(moved))  # the engine has not heard yet that they begin anew
        if self._settling is None or self._settling[0] is not settlement:
            known = self._trails if self._life_s is not None else {}
            tracked = {at: known[at].settled for at in settlement.frontier if at in known}
            caught = {at: it.after(settlement.frontier[at]) for at, it in tracked.items()}
            self._settling = (settlement, msgspec.structs.replace(settlement, caught=caught))
        told = self._settling[1]
        try:
            await self._inner.settle(told)
        except Lost:
            self._settling = None
            raise
        self._settling = None
        self._noted.update(told.caught)
        for partition, offset in settlement.frontier.items():
            if partition in self._trails:
                self._trails[partition].settled.move(offset)

    async def close(self) -> None:
        """As the port says."""
        await self._inner.close()
