"""Faults, wrapped around ports. Product code has no hooks for them: what fails here is what could fail out there.

Every wrapper asks one `Faults` whether a fault strikes; it draws from a seed and counts what it did, because a fault
that never occurred proves nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from headwater.clock import Clock
from headwater.embedding.port import Description, Embedded, Embedder, Purpose
from headwater.errors import Reject, Retry
from headwater.indexes.memory_tables import Key, Moment, Swapped, Tables
from headwater.indexes.port import IndexWriter, Stored
from headwater.log.port import Batch, LogReader
from headwater.model.change import Record
from headwater.model.generation import Floor, Generation, Position
from headwater.model.manifest import Answer, Manifest, Mark, Row, Write
from headwater.model.receipt import Settlement
from headwater.testing.passing import PassingReader

T = TypeVar("T")


class Faults:
    """Draws faults from a seed: `rates` gives each one's probability a call. `calm` ends them all.

    One worker has one gate: while it is closed, nothing of that worker goes on (SIGSTOP), and everything does after.
    """

    def __init__(self, seed: int, rates: Mapping[str, float], clock: Clock, counts: Counter[str]) -> None:
        self._random = random.Random(seed)  # noqa: S311 (a simulation's, not a secret)
        self._rates = rates
        self._clock = clock
        self.counts = counts
        self.calm = False
        self.ill = False
        self._gate = asyncio.Event()
        self._gate.set()

    def freeze(self) -> None:
        """Stop the worker in whatever it does."""
        self.counts["frozen"] += 1
        self._gate.clear()

    def thaw(self) -> None:
        """Let it go on, not knowing that it was stopped."""
        self._gate.set()

    def strikes(self, fault: str) -> bool:
        """Tell whether this fault happens now, and count it if it does."""
        struck = not self.calm and self._random.random() < self._rates.get(fault, 0.0)
        self.counts[fault] += struck
        return struck

    async def pass_through(self, longest_s: float) -> None:
        """Wait as long as this call takes, and while the worker is frozen."""
        await self._clock.sleep(0 if self.calm else self._random.random() * longest_s)
        await self._gate.wait()

    def shuffled(self, count: int) -> list[int]:
        """Return 0..count-1 in another order."""
        return self._random.sample(range(count), count)

    def below(self, count: int) -> int:
        """Return a number from 0 to count-1."""
        return self._random.randrange(count)


class FaultyEmbedder:
    """An embedder that fails, delays, reorders, answers too little, or is ill and refuses everything."""

    def __init__(self, inner: Embedder, faults: Faults, longest_s: float = 1.0) -> None:
        self._inner = inner
        self._faults = faults
        self._longest_s = longest_s

    def describe(self) -> Description:
        return self._inner.describe()

    async def open(self) -> None:
        await self._inner.open()

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        await self._faults.pass_through(self._longest_s)
        if self._faults.strikes("embedder-fails"):
            raise Retry("embedder", "it answered 503")
        if self._faults.ill:
            self._faults.counts["embedder-ill"] += 1
            raise Reject("no such model")
        answer = await self._inner.embed(texts, purpose)
        if len(texts) > 1 and self._faults.strikes("embedder-reorders"):
            order = self._faults.shuffled(len(texts))
            return Embedded(answer.vectors[order], tuple(order), answer.tokens)
        if self._faults.strikes("embedder-answers-too-little"):
            return Embedded(answer.vectors[:-1], answer.index[:-1], answer.tokens)
        return answer

    async def close(self) -> None:
        await self._inner.close()


class FaultyReader(PassingReader):
    """A log reader that delivers twice, and that fails before or after it has settled. It never waits inside a poll."""

    def __init__(self, inner: LogReader, faults: Faults, clock: Clock) -> None:
        super().__init__(inner)
        self._faults = faults
        self._clock = clock
        self._seen: list[Record] = []

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        await self._faults.pass_through(0.2)
        if self._faults.strikes("log-fails"):
            raise Retry("log", "connection refused")
        batch = await self.inner.poll(max_records, max_bytes, 0)
        if not batch.records and not batch.assigned and not batch.revoked:
            await self._clock.sleep(wait_s)
        moved = {*batch.assigned, *batch.revoked}  # after an assignment a log begins at its offset, never elsewhere
        self._seen = [record for record in self._seen if record.partition not in moved]
        repeated: list[Record] = []
        if self._seen and self._faults.strikes("delivered-twice"):
            repeated = self._seen[self._faults.below(len(self._seen)) :]
        self._seen = [*self._seen[-5:], *batch.records]
        return Batch([*repeated, *batch.records], batch.assigned, batch.revoked)

    async def settle(self, settlement: Settlement) -> None:
        await self._faults.pass_through(0.2)
        if self._faults.strikes("settle-fails"):
            raise Retry("log", "connection refused")
        await self.inner.settle(settlement)
        if self._faults.strikes("settle-times-out"):
            raise Retry("log", "timed out")


class FaultyWriter:
    """An index that applies and then times out, or applies a part of what it was given and then fails."""

    def __init__(self, inner: IndexWriter, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    async def manifests(self, ids: Sequence[str]) -> dict[str, Manifest]:
        await self._faults.pass_through(0.1)
        return await self._inner.manifests(ids)

    async def vectors(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self._inner.vectors(digests)

    async def apply(self, writes: Sequence[Write | Mark], positions: Sequence[Position] = ()) -> list[Answer]:
        await self._faults.pass_through(0.5)
        if self._faults.strikes("index-fails"):
            raise Retry("index", "connection refused")
        if len(writes) > 1 and self._faults.strikes("index-applies-part"):
            await self._inner.apply(writes[: 1 + self._faults.below(len(writes) - 1)])
            raise Retry("index", "connection reset")
        answers = await self._inner.apply(writes, positions)
        if self._faults.strikes("index-times-out"):
            raise Retry("index", "timed out")
        await self._faults.pass_through(0.1)
        return answers

    async def purge(self, floors: Sequence[Floor]) -> int:
        return await self._inner.purge(floors)

    async def generation(self) -> Generation:
        return await self._inner.generation()

    async def close(self) -> None:
        await self._inner.close()


class FaultyTables:
    """The steps of an index without transactions, any of which may fail, be lost, or let others in between.

    `watch` is called after every step that changes something.
    """

    def __init__(self, inner: Tables, faults: Faults, watch: Callable[[], None]) -> None:
        self._inner = inner
        self._faults = faults
        self._watch = watch

    async def _step(self, step: Callable[[], Awaitable[T]]) -> T:
        await self._faults.pass_through(0.1)
        if self._faults.strikes("index-step-fails"):
            raise Retry("index", "connection reset")
        result = await step()
        self._watch()
        if self._faults.strikes("index-step-times-out"):
            raise Retry("index", "timed out")
        return result

    async def look(self, key: Key, ids: Collection[str]) -> Moment:
        return await self._inner.look(key, ids)

    async def documents(self, key: Key, ids: Collection[str] | None) -> list[Stored]:
        return await self._inner.documents(key, ids)

    async def ids(self, key: Key) -> list[str]:
        return await self._inner.ids(key)

    async def count_unnamed(self, key: Key, document: str) -> int:
        return await self._inner.count_unnamed(key, document)

    async def put_rows(self, key: Key, document: str, since: int, rows: Sequence[Row]) -> None:
        await self._step(lambda: self._inner.put_rows(key, document, since, rows))

    async def swap_manifest(self, key: Key, write: Write | Mark, since: int) -> Swapped:
        return await self._step(lambda: self._inner.swap_manifest(key, write, since))

    async def drop_rows(self, key: Key, document: str, keep: Collection[tuple[bytes, int]], until: int) -> int:
        return await self._step(lambda: self._inner.drop_rows(key, document, keep, until))

    async def move_positions(self, key: Key, positions: Sequence[Position]) -> None:
        await self._step(lambda: self._inner.move_positions(key, positions))

    async def lift_floors(self, key: Key, floors: Sequence[Floor]) -> None:
        await self._inner.lift_floors(key, floors)

    async def collect_fence(self, key: Key, document: str) -> bool:
        return await self._inner.collect_fence(key, document)

    async def vectors(self, key: Key, digests: Collection[bytes]) -> dict[bytes, bytes]:
        return await self._inner.vectors(key, digests)

    async def generations(self, stream: str) -> list[Generation]:
        return await self._inner.generations(stream)

    async def create(self, generation: Generation) -> bool:
        return await self._inner.create(generation)

    async def adopt(self, key: Key, log_identity: str, log_epoch: int) -> None:
        await self._inner.adopt(key, log_identity, log_epoch)

    async def keep_probes(self, key: Key, probes: bytes) -> bytes:
        return await self._inner.keep_probes(key, probes)

    async def probes(self, key: Key) -> bytes:
        return await self._inner.probes(key)
