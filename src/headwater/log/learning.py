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

Learn = Callable[[Sequence[Record]], Awaitable[None]]


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
    """A log's reader that hands out records whose schemas are known.

    It goes around everything else that reads ahead: what it hands out is to be decoded before it is polled again.
    Records whose schemas could not be fetched are held, never more than one poll brought: while any are, the reader
    inside is asked for news of the assignment only. News are never held.
    """

    def __init__(self, reader: LogReader, learn: Learn) -> None:
        self._reader = reader
        self._learn = learn
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
            return self._hand_out(0)
        try:
            await self._learn(self._held)
        except Retry:
            if self._news():
                return self._hand_out(0)
            raise
        return self._hand_out(_fitting(self._held, max_records, max_bytes))

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

    def _hand_out(self, number: int) -> Batch:
        records, self._held = self._held[:number], self._held[number:]
        # That nothing more lies before an offset holds only once all that does is handed out.
        waiting = {record.partition for record in self._held}
        ends = {it: end for it, end in self._ends.items() if it not in waiting}
        self._ends = {it: end for it, end in self._ends.items() if it in waiting}
        batch = Batch(records, self._assigned, self._revoked, ends)
        self._assigned, self._revoked = {}, frozenset()
        return batch


def _fitting(records: Sequence[Record], max_records: int, max_bytes: int) -> int:
    """Return how many of these there is room for: one at least, and be it too large."""
    for number, record in enumerate(records[:max_records]):
        max_bytes -= record.size_bytes
        if max_bytes < 0:
            return max(number, 1)
    return min(len(records), max_records)


class LearningHistory:
    """A stream's history that yields records whose schemas are known. Reading raises what `learn` raises."""

    def __init__(self, history: LogHistory, learn: Learn) -> None:
        self._history = history
        self._learn = learn

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
            yield record

    async def close(self) -> None:
        await self._history.close()
