"""A stream in one process: the log in memory, the index in memory or SQLite, the letters of the simulation as model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from headwater.clock import Clock, SystemClock
from headwater.embedding.courier import Courier
from headwater.embedding.port import Description, Embedded, Embedder, Purpose
from headwater.engine.loop import Limits
from headwater.engine.stream import StreamPorts
from headwater.engine.supervisor import Ended, Machine, StreamWorker
from headwater.indexes.memory import MemoryCatalogue, MemoryIndexReader, MemoryIndexWriter
from headwater.indexes.memory_tables import MemoryTables
from headwater.indexes.port import IndexCatalogue, IndexReader, IndexWriter, Stored
from headwater.indexes.sqlite import SqliteCatalogue, SqliteIndexReader, SqliteIndexWriter
from headwater.log.codecs import json as codec
from headwater.log.memory import MemoryLog
from headwater.log.port import LogReader
from headwater.model.change import Outgoing
from headwater.model.document import Recipe
from headwater.model.receipt import DeadLetter, DeadState, Receipt
from headwater.observability.signals import Event
from headwater.testing.simulated import CountingIds, SeededDice, SimulatedClock, in_place, simulate
from tests.simulation.world import LetterRecipe, Letters

T = TypeVar("T", IndexCatalogue, IndexWriter)

STREAM, GROUP, GENERATION = "s", "headwater.s", 1


class Counting:
    """Counts the texts that the model was asked for; while it is `away`, it does not answer at all."""

    def __init__(self) -> None:
        self.inner = Letters()
        self.texts: list[str] = []
        self.back = asyncio.Event()
        self.back.set()

    def describe(self) -> Description:
        return self.inner.describe()

    async def open(self) -> None:
        await self.inner.open()

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        await self.back.wait()
        self.texts += texts
        return await self.inner.embed(texts, purpose)

    async def close(self) -> None:
        pass


class Stream:
    """One stream, with one partition at first, and its workers."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.clock: Clock = SimulatedClock() if kind == "memory" else SystemClock()
        self.log = MemoryLog(self.clock, CountingIds())
        self.model = Counting()
        self.partitions = 1
        self.events: list[tuple[Event, dict[str, object]]] = []
        self._tables = MemoryTables()
        self._path = folder / "index.db" if kind == "sqlite" else None
        self._closing: list[Callable[[], Awaitable[None]]] = []

    def catalogue(self) -> IndexCatalogue:
        return SqliteCatalogue(self._path) if self._path else MemoryCatalogue(self._tables)

    def writer(self) -> IndexWriter:
        if self._path:
            return SqliteIndexWriter(self._path, STREAM, GENERATION)
        return MemoryIndexWriter(self._tables, STREAM, GENERATION)

    def index(self) -> IndexReader:
        if self._path:
            return SqliteIndexReader(self._path, STREAM, GENERATION)
        return MemoryIndexReader(self._tables, STREAM, GENERATION)

    def worker(
        self,
        *,
        model: Embedder | None = None,
        reader: Callable[[LogReader], LogReader] = lambda it: it,
        writer: Callable[[IndexWriter], IndexWriter] = lambda it: it,
        limits: Limits | None = None,
        uncompacted: str = "",
        recipe: Callable[[int], Recipe] = LetterRecipe,
        change: Callable[[StreamPorts], StreamPorts] = lambda it: it,
    ) -> StreamWorker:
        ports = StreamPorts(
            name=STREAM,
            open_reader=lambda: reader(self.log.reader(STREAM, GROUP, GENERATION, self.partitions)),
            history=self.log.history(STREAM, GROUP, self.partitions),
            ledger=self.log.ledger(STREAM, GENERATION),
            registry=self.log.registry(),
            catalogue=self._kept(self.catalogue()),
            writer=writer(self._kept(self.writer())),
            courier=Courier(model or self.model, self.clock, SeededDice(1)),
            recipe=recipe,
            decode=codec.decode,
            uncompacted=uncompacted,
        )
        machine = Machine(
            clock=self.clock,
            dice=SeededDice(1),
            ids=CountingIds(),
            offload=in_place,
            emit=lambda event, fields: self.events.append((event, fields)),
            limits=limits or Limits(poll_wait_s=0.05),
            control_s=0.05,
            look_s=0.1,
            witness_s=1.0,
            grace_s=0.2,
        )
        return StreamWorker(change(ports), machine)

    async def once(self) -> Ended:
        return await self.worker().run(once=True)

    async def say(self, *changes: tuple[str, str | None]) -> None:
        """Append changes: (document, text), None for a delete."""
        writer = self.log.writer(STREAM, self.partitions)
        await writer.append([_outgoing(document, text) for document, text in changes])

    async def outcomes(self, document: str) -> list[tuple[int, str]]:
        """Return (offset, outcome) of a document's receipts, by offset."""
        return sorted((it.version.offset, str(it.outcome)) for it in await self.receipts(document))

    async def receipts(self, document: str) -> list[Receipt]:
        return await self.log.ledger(STREAM, GENERATION).receipts(document)

    async def letters(self, *states: DeadState) -> list[DeadLetter]:
        return await self.log.ledger(STREAM, GENERATION).dead(frozenset(states or DeadState))

    async def shown(self) -> dict[str, str]:
        """Return what readers see: the text of each shown document."""
        return {
            it.manifest.id: "".join(it.rows[chunk.digest, chunk.occurrence][0] for chunk in it.manifest.chunks)
            for it in await self.stored()
            if it.manifest.shown
        }

    async def stored(self) -> list[Stored]:
        reader = self.index()
        try:
            return [it async for it in reader.scan()]
        finally:
            await reader.close()

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something; the test's own time-out is the only bound."""
        while not await holds():
            await self.clock.sleep(0.02)

    async def close(self) -> None:
        for close in self._closing:
            await close()

    def _kept(self, made: T) -> T:
        self._closing.append(made.close)
        return made


def _outgoing(document: str, text: str | None) -> Outgoing:
    fields = {"id": document, "op": "delete"} if text is None else {"id": document, "body": {"text": text, "tag": 0}}
    return Outgoing(document.encode(), msgspec.json.encode(fields))


def play(kind: str, folder: Path, story: Callable[[Stream], Awaitable[None]]) -> None:
    """Play a story on one kind of index: in simulated time in memory, in real time on SQLite."""

    async def main() -> None:
        stream = Stream(kind, folder)
        try:
            await asyncio.wait_for(story(stream), 60)
        finally:
            await stream.close()

    if kind == "memory":
        simulate(main)
    else:
        asyncio.run(main())
