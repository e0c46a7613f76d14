"""The workload on real adapters: a first part that goes well, and a second one in which the fault strikes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from headwater.clock import Clock, SystemClock
from headwater.embedding.courier import Courier
from headwater.engine.loop import Limits
from headwater.engine.stream import StreamPorts
from headwater.engine.supervisor import End, Ended, Machine, StreamWorker
from headwater.indexes.memory import MemoryCatalogue, MemoryIndexReader, MemoryIndexWriter, MemoryTables
from headwater.indexes.port import IndexCatalogue, IndexReader, IndexWriter
from headwater.indexes.sqlite import SqliteCatalogue, SqliteIndexReader, SqliteIndexWriter
from headwater.log.codecs import json as codec
from headwater.log.memory import MemoryLog
from headwater.log.port import LogHistory
from headwater.log.sqlite import SqliteLog
from headwater.model.receipt import DeadState
from headwater.observability.signals import Event
from headwater.testing.simulated import CountingIds, SeededDice, SimulatedClock, in_place
from tests.failures.faults import Failing, Fault
from tests.failures.workload import DEAD, EXPECTED, FIRST, THEN, Files, Model, recipe, upsert, vector

STREAM, GROUP, PARTITIONS = "s", "headwater.s", 2


class QuickClock(SystemClock):
    """The machine's clock, on which nobody sleeps long: outages are over at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


class Adapters(Protocol):
    """Where log and index are. `lose_index` and `replace_log` do as disks and people do."""

    clock: Clock

    @property
    def log(self) -> MemoryLog | SqliteLog: ...

    def catalogue(self) -> IndexCatalogue: ...

    def writer(self) -> IndexWriter: ...

    def reader(self) -> IndexReader: ...

    def lose_index(self) -> None: ...

    def replace_log(self) -> None: ...


class Memory:
    """The memory adapters, for the simulated loop."""

    def __init__(self) -> None:
        self.clock: Clock = SimulatedClock()
        self._ids = CountingIds()
        self._log = MemoryLog(self.clock, self._ids)
        self._tables = MemoryTables()

    @property
    def log(self) -> MemoryLog:
        return self._log

    def catalogue(self) -> IndexCatalogue:
        return MemoryCatalogue(self._tables)

    def writer(self) -> IndexWriter:
        return MemoryIndexWriter(self._tables, STREAM, 1)

    def reader(self) -> IndexReader:
        return MemoryIndexReader(self._tables, STREAM, 1)

    def lose_index(self) -> None:
        self._tables = MemoryTables()

    def replace_log(self) -> None:
        self._log = MemoryLog(self.clock, self._ids)


class Sqlite:
    """The SQLite adapters, log and index in two files."""

    def __init__(self, folder: Path) -> None:
        self.clock: Clock = QuickClock()
        self.folder = folder
        self._ids = CountingIds()

    @property
    def log(self) -> SqliteLog:
        return SqliteLog(self.folder / "log.db", self.clock, self._ids)

    def catalogue(self) -> IndexCatalogue:
        return SqliteCatalogue(self.folder / "index.db")

    def writer(self) -> IndexWriter:
        return SqliteIndexWriter(self.folder / "index.db", STREAM, 1)

    def reader(self) -> IndexReader:
        return SqliteIndexReader(self.folder / "index.db", STREAM, 1)

    def lose_index(self) -> None:
        self._remove("index.db")

    def replace_log(self) -> None:
        self._remove("log.db")

    def _remove(self, name: str) -> None:
        for path in self.folder.glob(f"{name}*"):
            path.unlink()


@dataclass
class World:
    """One run. `events` is what the faulty worker told."""

    adapters: Adapters
    model: Model = field(default_factory=Model)
    events: list[tuple[Event, dict[str, Any]]] = field(default_factory=list)

    # --- parts of a run

    async def first_run(self) -> None:
        """Nothing was there before."""
        self.model.ill = False
        await self._append(FIRST + THEN)

    async def begin(self) -> None:
        """Settle the first part, without faults. `g` is a dead letter then, which is told to be tried again."""
        await self._append(FIRST)
        ended = await self.work(Fault(), source=False)
        assert ended.end is End.DONE, ended
        self.model.ill = False
        await self._append(THEN)

    async def lose_index(self) -> None:
        """The index has to be built again, beside what is new."""
        await self.begin()
        ledger = self.adapters.log.ledger(STREAM, 1)
        (letter,) = [one for one in await ledger.dead(frozenset({DeadState.OPEN})) if one.document == "g"]
        assert await ledger.move(letter.document, letter.version, DeadState.OPEN, DeadState.RETRYING)
        await ledger.close()
        self.adapters.lose_index()

    async def replace_log(self) -> None:
        """Another log holds the same changes, and a person said that it is the right one."""
        await self.begin()
        self.adapters.replace_log()
        await self._append(FIRST + THEN)
        registry = self.adapters.log.registry()
        state = await registry.read(STREAM)
        assert await registry.advance(STREAM, msgspec.structs.replace(state, accept_epoch=True))
        await registry.close()

    async def poison(self, count: int) -> None:
        """Nothing but poison is there."""
        await self._append([upsert(f"p{i}", "no kind", None) for i in range(count)])

    async def _append(self, changes: list[Any]) -> None:
        writer = self.adapters.log.writer(STREAM, PARTITIONS)
        await writer.append(changes)
        await writer.close()

    async def work(self, fault: Fault, *, once: bool = True, source: bool = True) -> Ended:
        """Run a worker with this fault."""
        ports, close = self.ports(fault, source)
        ended = await StreamWorker(ports, self.machine()).run(once=once)
        for port in close:
            await port.close()
        return ended

    def worker(self) -> StreamWorker:
        """Return a worker to be run beside others. It is not closed."""
        return StreamWorker(self.ports(Fault(), True)[0], self.machine())

    def ports(self, fault: Fault, source: bool) -> tuple[StreamPorts, list[Any]]:
        """Return what a worker works with, and all of that which is to be closed."""
        log, adapters = self.adapters.log, self.adapters
        made = {
            "history": Failing(log.history(STREAM, GROUP, PARTITIONS), "LogHistory", fault),
            "ledger": Failing(log.ledger(STREAM, 1), "Ledger", fault),
            "registry": Failing(log.registry(), "Registry", fault),
            "catalogue": Failing(adapters.catalogue(), "IndexCatalogue", fault),
            "writer": Failing(adapters.writer(), "IndexWriter", fault),
            "courier": Courier(Failing(self.model, "Embedder", fault), adapters.clock, SeededDice(1)),
            "source": Failing(
                Files(Failing(log.writer(STREAM, PARTITIONS), "LogWriter", fault)),
                "Source",
                fault,
            ),
        }
        close = list(made.values())
        if not source:
            del made["source"]

        def reader() -> Any:
            return Failing(log.reader(STREAM, GROUP, 1, PARTITIONS), "LogReader", fault)

        ports: dict[str, Any] = dict(made)
        return StreamPorts(name=STREAM, recipe=self._recipe, decode=codec.decode, open_reader=reader, **ports), close

    def _recipe(self, number: int) -> Any:
        return recipe(number, self.model)

    def machine(self) -> Machine:
        """Return the machine that a worker runs on."""
        return Machine(
            clock=self.adapters.clock,
            dice=SeededDice(1),
            ids=CountingIds(),
            offload=in_place,
            emit=lambda event, fields: self.events.append((event, fields)),
            limits=Limits(poll_records=4, poll_wait_s=0.1, work_documents=3, works=2),
        )

    # --- what must be there

    async def violations(self) -> list[str]:
        """Tell what is not as it must be, each change's own receipt included."""
        return [*await self._wrong_documents(), *await self._wrong_books()]

    async def _wrong_documents(self) -> list[str]:
        reader = self.adapters.reader()
        found: dict[str, str] = {}
        wrong = []
        async for stored in reader.scan():
            manifest = stored.manifest
            texts = []
            for chunk in manifest.chunks:
                text, stored_vector = stored.rows[chunk.digest, chunk.occurrence]
                texts.append(text[chunk.skip :])
                if stored_vector != vector(text):
                    wrong.append(f"{manifest.id}: a vector is another text's")
            if manifest.shown:
                found[manifest.id] = "".join(texts)
            elif texts:
                wrong.append(f"{manifest.id}: chunks of what is not shown")
        if found != EXPECTED:
            wrong.append(f"the index holds {found}")
        if orphans := await reader.orphans():
            wrong.append(f"{orphans} orphans")
        await reader.close()
        return wrong

    async def _wrong_books(self) -> list[str]:
        log = self.adapters.log
        history, ledger = log.history(STREAM, GROUP, PARTITIONS), log.ledger(STREAM, 1)
        wrong = []
        settled = set()
        documents = set()
        places = set()
        for partition, mark in (await history.watermarks()).items():
            if mark.committed != mark.high:
                wrong.append(f"partition {partition}: committed {mark.committed} of {mark.high}")
            async for record in _all(history, partition, mark.high):
                documents.add(record.key.decode())
                places.add(record.place)
        for document in documents:
            settled |= {receipt.place for receipt in await ledger.receipts(document)}
        if settled != places:
            wrong.append(f"no receipt for {sorted(map(str, places - settled))}")
        files = sum(document.endswith(".txt") for document in documents)
        if len(places) != len(FIRST) + len(THEN) + files:
            wrong.append(f"{len(places)} changes are in the log: some are there twice, or were lost")
        dead = {letter.document for letter in await ledger.dead(frozenset({DeadState.OPEN, DeadState.RETRYING}))}
        if dead != DEAD:
            wrong.append(f"dead are {sorted(dead)}")
        await history.close()
        await ledger.close()
        return wrong


def _all(history: LogHistory, partition: int, end: int) -> Any:
    return history.read(partition, 0, end)
