"""A small world for the real engine: two documents, a few letters, and everything that can go wrong.

`run(seed)` plays one schedule: it produces changes, starts, stops, freezes and kills workers, moves partitions between
them, makes the embedder ill, retries and discards dead letters. The engine is the shipped one, on the shipped memory
adapters, wrapped in the shipped faults, in simulated time. The judge (judge.py) looks after each step.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from headwater.embedding.courier import Courier
from headwater.embedding.port import Description, Embedded, Purpose
from headwater.engine.loop import Limits
from headwater.engine.stream import StreamPorts
from headwater.engine.supervisor import Ended, Machine, StreamWorker
from headwater.errors import Reject
from headwater.indexes.memory import MemoryCatalogue, MemoryIndexWriter
from headwater.indexes.memory_tables import MemoryTables
from headwater.log.codecs import json as codec
from headwater.log.memory import MemoryLog, MemoryReader
from headwater.model.change import Change, Outgoing
from headwater.model.document import Derived, Fingerprints, Piece
from headwater.model.receipt import DeadState
from headwater.model.version import Version
from headwater.testing.faults import Faults, FaultyEmbedder, FaultyReader, FaultyTables, FaultyWriter
from headwater.testing.simulated import CountingIds, SeededDice, SimulatedClock, in_place

STREAM, GROUP, GENERATION = "s", "headwater.s", 1
DOCUMENTS = ("d", "e")
LETTERS = "ABCD!"
#: `!` is refused by the model, `?` by the recipe, `#` by the filter.
TEXTS = ("AB", "BC", "AC", "ABC", "A", "AAB", "")
POISON, REJECTED, FILTERED = "A!", "?B", "#C"

RATES = {
    "embedder-fails": 0.05,
    "embedder-reorders": 0.2,
    "embedder-answers-too-little": 0.05,
    "delivered-twice": 0.15,
    "log-fails": 0.02,
    "settle-fails": 0.05,
    "settle-times-out": 0.05,
    "index-fails": 0.03,
    "index-applies-part": 0.15,
    "index-times-out": 0.1,
    "index-step-fails": 0.03,
    "index-step-times-out": 0.03,
}
#: What a run of many schedules must have seen at least once.
FAULTS = (*RATES, "embedder-ill", "frozen", "killed", "rebalanced", "gap", "poison", "rejected", "filtered", "deleted",
          "retried", "discarded", "healed", "paused")  # fmt: skip


@dataclass(frozen=True)
class Said:
    """A change as it was produced: the judge's own record of the truth."""

    partition: int
    offset: int
    document: str
    text: str | None
    tag: int


def vector(letter: str) -> list[float]:
    """The toy model: one direction a letter."""
    return [1.0 if letter == other else 0.0 for other in LETTERS]


class Letters:
    """An embedder that knows letters, and refuses `!` until it is healed."""

    def __init__(self) -> None:
        self.healed = False

    def describe(self) -> Description:
        return Description("letters", "letters-1", len(LETTERS), max_texts=2, max_characters=100, witnessed=False)

    async def open(self) -> None:
        pass

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        if not self.healed and any(text == "!" for text in texts):
            raise Reject("unreadable")
        rows = [vector(text) if len(text) == 1 else [1.0] + [0.0] * (len(LETTERS) - 1) for text in texts]
        return Embedded(np.array(rows, dtype=np.float32), tuple(range(len(texts))), len(texts))

    async def close(self) -> None:
        pass


class LetterRecipe:
    """Every letter is a chunk."""

    fingerprints = Fingerprints(text="t", chunk="c", model="letters-1", payload="p")

    longest = 1

    def __init__(self, number: int) -> None:
        self.number = number

    def passes(self, change: Change) -> bool:
        return not (change.body or {}).get("text", "").startswith("#")

    def derive(self, change: Change) -> Derived:
        body = change.body or {}
        if "?" in body["text"]:
            raise Reject("the recipe cannot read it")
        pieces = tuple(Piece(letter, 0, i, i + 1) for i, letter in enumerate(body["text"]))
        return Derived(pieces, {"tag": body["tag"]})


@dataclass
class Worker:
    """One worker process, as far as the world can see it."""

    faults: Faults
    worker: StreamWorker | None = None
    task: asyncio.Task[Ended] | None = None
    reader: MemoryReader | None = None  # that of its session: a new one after each pause
    mine: set[int] = field(default_factory=set)  # the partitions that the group gave it


@dataclass
class World:
    """Everything there is in one schedule."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    said: list[Said] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.clock = SimulatedClock()
        self.partitions = self.random.choice((1, 2))
        self.log = MemoryLog(self.clock, CountingIds())
        self.writer = self.log.writer(STREAM, self.partitions)
        self.tables = MemoryTables()
        self.letters = Letters()
        self.workers: list[Worker] = []
        self.discarded: set[tuple[str, Version]] = set()

    def watch(self) -> None:
        """Called after each step that changes the index or the log."""

    # --- what happens

    def note(self, what: str) -> None:
        self.history.append(f"{self.clock.monotonic():.3f} {what}")

    async def produce(self) -> None:
        document = self.random.choice(DOCUMENTS)
        kind = self.random.choices(("upsert", "deleted", "poison", "rejected", "filtered"), (12, 4, 2, 1, 2))[0]
        text = {"upsert": self.random.choice(TEXTS), "poison": POISON, "rejected": REJECTED, "filtered": FILTERED}.get(
            kind
        )
        tag = self.random.randrange(2)
        self.counts[kind] += 1
        fields = (
            {"id": document, "op": "delete"} if text is None else {"id": document, "body": {"text": text, "tag": tag}}
        )
        value = None if text is None and self.random.random() < 0.5 else msgspec.json.encode(fields)
        await self.writer.append([Outgoing(document.encode(), value)])
        history = self.log.history(STREAM, GROUP, self.partitions)
        marks = await history.watermarks()
        said = {(it.partition, it.offset) for it in self.said}
        for partition, mark in marks.items():
            async for record in history.read(partition, mark.high - 1, mark.high):
                if (partition, record.offset) not in said:
                    self.said.append(Said(partition, record.offset, document, text, tag))
                    self.note(f"says {document} {text!r} at {partition}.{record.offset}")

    def start(self) -> Worker:
        number = len(self.workers)
        faults = Faults(self.seed * 1000 + number, RATES, self.clock, self.counts)
        worker = Worker(faults)

        def open_reader() -> FaultyReader:
            worker.reader = self.log.reader(STREAM, GROUP, GENERATION, self.partitions)
            self.log.assign(worker.reader, worker.mine)
            return FaultyReader(worker.reader, faults, self.clock)

        tables = FaultyTables(self.tables, faults, self.watch)
        ports = StreamPorts(
            name=STREAM,
            open_reader=open_reader,
            history=self.log.history(STREAM, GROUP, self.partitions),
            ledger=self.log.ledger(STREAM, GENERATION),
            registry=self.log.registry(),
            catalogue=MemoryCatalogue(self.tables),
            writer=FaultyWriter(MemoryIndexWriter(tables, STREAM, GENERATION), faults),
            courier=Courier(FaultyEmbedder(self.letters, faults), self.clock, SeededDice(self.seed * 1000 + number)),
            recipe=LetterRecipe,
            decode=codec.decode,
        )
        machine = Machine(
            clock=self.clock,
            dice=SeededDice(self.seed * 1000 + number),
            ids=CountingIds(),
            offload=in_place,
            emit=lambda event, fields: None,
            limits=Limits(poll_records=3, poll_wait_s=0.5, work_documents=self.random.choice((1, 2)), works=2),
            control_s=2.0,
            grace_s=1.0,
        )
        worker.worker = StreamWorker(ports, machine)
        worker.task = asyncio.ensure_future(worker.worker.run(once=False))
        self.workers.append(worker)
        self.note(f"starts worker {number}")
        return worker

    def give(self, worker: Worker, partitions: Sequence[int]) -> None:
        for other in self.workers:
            other.mine.difference_update(partitions)
        worker.mine.update(partitions)
        if worker.reader is not None:
            self.log.assign(worker.reader, partitions)
        self.note(f"gives {list(partitions)} to worker {self.workers.index(worker)}")

    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.task is not None and not worker.task.done()]

    def rebalance(self) -> None:
        """A new worker, or one that lost its partitions before, takes some over. Whoever had them does not know yet."""
        self.counts["rebalanced"] += 1
        taker = (
            self.start() if len(self.alive()) < 4 and self.random.random() < 0.7 else self.random.choice(self.alive())
        )
        count = self.random.randint(1, self.partitions)
        self.give(taker, self.random.sample(range(self.partitions), count))

    def kill(self) -> None:
        self.counts["killed"] += 1
        victim = self.random.choice(self.alive())
        assert victim.task is not None
        victim.task.cancel()
        self.note(f"kills worker {self.workers.index(victim)}")
        self.give(self.start(), range(self.partitions))

    def freeze(self) -> None:
        self.random.choice(self.alive()).faults.freeze()

    def thaw(self) -> None:
        self.random.choice(self.alive()).faults.thaw()

    def sicken(self) -> None:
        ill = self.random.random() < 0.5
        for worker in self.alive():
            worker.faults.ill = ill

    def gap(self) -> None:
        self.counts["gap"] += 1
        self.log.skip(STREAM, self.random.randrange(self.partitions), self.random.randint(1, 2))

    async def pause(self) -> None:
        registry = self.log.registry()
        state = await registry.read(STREAM)
        if state.serial and await registry.advance(
            STREAM, msgspec.structs.replace(state, paused="" if state.paused else "wait")
        ):
            self.counts["paused"] += 1

    async def dead_letter(self) -> None:
        ledger = self.log.ledger(STREAM, GENERATION)
        letters = await ledger.dead(frozenset({DeadState.OPEN}))
        if not letters:
            return
        letter = self.random.choice(letters)
        if self.random.random() < 0.3:
            if await ledger.move(letter.document, letter.version, letter.state, DeadState.DISCARDED):
                self.counts["discarded"] += 1
                self.discarded.add((letter.document, letter.version))
        else:
            self.counts["retried"] += await ledger.move(
                letter.document, letter.version, letter.state, DeadState.RETRYING
            )

    def heal(self) -> None:
        if not self.letters.healed:
            self.counts["healed"] += 1
            self.letters.healed = True
            self.note("heals")

    # --- a schedule

    async def play(self) -> None:
        for _ in range(self.random.randint(0, 3)):
            await self.produce()
        self.give(self.start(), range(self.partitions))
        for _ in range(self.random.randint(8, 30)):
            await self.step()
            await self.clock.sleep(self.random.choice((0.01, 0.1, 0.5, 1.0, 3.0)))
            self.watch()
        await self.settle_down()

    async def step(self) -> None:
        dice = self.random.random()
        for share, action in (
            (0.42, self.produce), (0.52, self.rebalance), (0.57, self.kill), (0.63, self.freeze), (0.70, self.thaw),
            (0.75, self.sicken), (0.78, self.gap), (0.85, self.dead_letter), (0.86, self.heal), (0.89, self.pause),
        ):  # fmt: skip
            if dice < share:
                result = action()
                if result is not None:
                    await result
                return

    async def settle_down(self) -> None:
        """The faults end. Zombies go on and finish, one worker has everything, and all must come right without help."""
        self.note("settles down")
        state = await self.log.registry().read(STREAM)
        if state.paused:
            await self.log.registry().advance(STREAM, msgspec.structs.replace(state, paused=""))
        for worker in self.workers:
            worker.faults.calm, worker.faults.ill = True, False
            worker.faults.thaw()
        self.give(self.start(), range(self.partitions))
        self.workers[-1].faults.calm = True
        history = self.log.history(STREAM, GROUP, self.partitions)
        for _ in range(60):
            await self.clock.sleep(5.0)
            self.watch()
            marks = await history.watermarks()
            retrying = await self.log.ledger(STREAM, GENERATION).dead(frozenset({DeadState.RETRYING}))
            if all(mark.committed >= self.last(partition) for partition, mark in marks.items()) and not retrying:
                break
        await self.clock.sleep(20.0)
        self.watch()

    def last(self, partition: int) -> int:
        return max((it.offset + 1 for it in self.said if it.partition == partition), default=0)
