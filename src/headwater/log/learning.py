"""Learning: the schemas of records are fetched before the engine sees them, so that decoding asks nobody.

While the registry is away, records wait here and the reader's polls raise Retry: an outage makes no dead letter. An id
that the registry does not know harms its own records only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from headwater.clock import Clock
from headwater.errors import Retry
from headwater.log.codecs.schemas import SchemaBook, SchemaRef, SchemaRegistry
from headwater.log.port import Batch, LogHistory, LogReader, Watermarks
from headwater.model.change import Record
from headwater.model.receipt import Settlement

#: Schemas that are fetched at a time.
AT_ONCE = 8

#: Fetches what records need. Afterwards the first of them that are not finished yet can be, one at least.
Learn = Callable[[Sequence[Record]], Awaitable[None]]
#: Puts what was fetched into a record. None: what it needs is not there yet.
Finish = Callable[[Record], Record | None]


def as_it_is(record: Record) -> Record:
    """Finish a record that was only waiting for what others need to read it."""
    return record


class Learning:
    """Fetches what the book lacks. Afterwards every reference of the records is in the book, known or known not to be.

    Raise what the registry's `fetch` raises; what was learned beside it is kept.
    """

    def __init__(self, book: SchemaBook, registry: SchemaRegistry, clock: Clock) -> None:
        self._book = book
        self._registry = registry
        self._clock = clock

    async def __call__(self, records: Sequence[Record]) -> None:
        refs = self._book.references(records)
        wanted = self._book.wanted(refs, self._clock.monotonic())
        # Another learner may have forgotten some of ours while we waited: so look again.
        while wanted:
            self._book.trim(keep=frozenset(refs))
            await self._fetch(wanted)
            wanted = self._book.wanted(refs, self._clock.monotonic())

    async def _fetch(self, refs: Sequence[SchemaRef]) -> None:
        waiting = iter(refs)

        async def work() -> None:
            for ref in waiting:
                self._book.put(ref, await self._registry.fetch(ref), self._clock.monotonic())

        workers = [asyncio.ensure_future(work()) for _ in range(min(AT_ONCE, len(refs)))]
        # One that failed asks for nothing more, so an outage costs one call; what the others got is kept.
        for result in await asyncio.gather(*workers, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result


class LearningReader:
    """A log's reader that hands out records whose schemas are known, or that were finished with what was fetched.

    It goes around everything else that reads ahead: what it hands out is to be decoded before it is polled again.
    Records for which something could not be fetched are held, never more than one poll brought: while any are, the
    reader inside is asked for news of the assignment only. News are never held.
    """

    def __init__(self, reader: LogReader, learn: Learn, finish: Finish = as_it_is) -> None:
        self._reader = reader
        self._learn = learn
        self._finish = finish
        self._held: list[Record] = []
        self._assigned: dict[int, int] = {}
        self._revoked: frozenset[int] = frozenset()
        self._ends: dict[int, int] = {}

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        # News that a failure kept back go first: the next poll of the reader inside hands partitions over.
        if not self._news():
            if self._held:
                self._take(await self._reader.poll(0, 0, 0.0 if max_records else wait_s))
            else:
                self._take(await self._reader.poll(max_records, max_bytes, wait_s))
        if not max_records:
            return self._hand_out([])
        try:
            await self._learn(self._held)
        except Retry:
            if self._news():
                return self._hand_out([])
            raise
        return self._hand_out(self._finished(max_records, max_bytes))

    async def settle(self, settlement: Settlement) -> None:
        await self._reader.settle(settlement)

    async def close(self) -> None:
        self._held.clear()
        await self._reader.close()

    def _news(self) -> bool:
        return bool(self._assigned or self._revoked)

    def _take(self, batch: Batch) -> None:
        """Add a batch to what is held. What was held of a partition that moves is another's, or comes again."""
        moved = batch.revoked | batch.assigned.keys()
        if moved:
            self._held = [record for record in self._held if record.partition not in moved]
            self._ends = {it: end for it, end in self._ends.items() if it not in moved}
        self._assigned.update(batch.assigned)
        self._revoked |= batch.revoked
        self._held += batch.records
        self._ends.update(batch.ends)

    def _finished(self, max_records: int, max_bytes: int) -> list[Record]:
        """Return those that there is room for, finished: one at least, and be it too large."""
        records: list[Record] = []
        for held in self._held[:max_records]:
            record = self._finish(held)
            if record is None:
                break
            max_bytes -= record.size_bytes
            if max_bytes < 0 and records:
                break
            records.append(record)
        return records

    def _hand_out(self, records: list[Record]) -> Batch:
        """Hand out the first of what is held, as finished."""
        self._held = self._held[len(records) :]
        # That nothing more lies before an offset holds only once all that does is handed out.
        waiting = {record.partition for record in self._held}
        ends = {it: end for it, end in self._ends.items() if it not in waiting}
        self._ends = {it: end for it, end in self._ends.items() if it in waiting}
        batch = Batch(records, self._assigned, self._revoked, ends)
        self._assigned, self._revoked = {}, frozenset()
        return batch


class LearningHistory:
    """A stream's history that yields records whose schemas are known, or that were finished with what was fetched.

    Reading raises what `learn` raises.
    """

    def __init__(self, history: LogHistory, learn: Learn, finish: Finish = as_it_is) -> None:
        self._history = history
        self._learn = learn
        self._finish = finish

    async def identity(self) -> str:
        return await self._history.identity()

    async def watermarks(self) -> dict[int, Watermarks]:
        return await self._history.watermarks()

    async def marker_life_s(self) -> float | None:
        return await self._history.marker_life_s()

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        async for record in self._history.read(partition, start, end):
            # One by one, so that no other reader's schemas push this record's out before it is decoded.
            await self._learn((record,))
            finished = self._finish(record)
            assert finished is not None, "what the first record needs is there"
            yield finished

    async def close(self) -> None:
        await self._history.close()
