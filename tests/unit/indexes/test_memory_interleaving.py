"""Writers of the in-memory index, interleaved at every step, killed between two, woken up late.

Each safeguard is also switched off, and then the same schedules must find a violation: else they would prove nothing.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Coroutine, Generator, Sequence
from typing import Any

import msgspec
import pytest

from headwater.errors import Halt
from headwater.indexes import rules
from headwater.indexes.memory import MemoryIndexWriter, MemoryTables
from headwater.indexes.memory_tables import Key, Moment, Swapped
from headwater.indexes.rules import Name
from headwater.model.generation import Floor
from headwater.model.manifest import Cause, Mark, Row, State, Verdict, Write
from headwater.testing.index_scenario import STREAM, at, generation, mark, removal, row, upsert

KEY = Key(STREAM, 1)
TEXTS = ("AB", "BC", "AC", "ABC", "A")
SEEDS = 1500


class Pause:
    """One moment at which anything else may happen."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class SteppingTables(MemoryTables):
    """Tables that pause before each step that writes, and after each look."""

    async def look(self, key: Key, ids: Collection[str]) -> Moment:
        moment = await super().look(key, ids)
        await Pause()
        return moment

    async def put_rows(self, key: Key, document: str, since: int, rows: Sequence[Row]) -> None:
        for one in rows:  # a store may show some of a batch before others
            await Pause()
            await super().put_rows(key, document, since, [one])

    async def swap_manifest(self, key: Key, write: Write | Mark, since: int) -> Swapped:
        await Pause()
        return await super().swap_manifest(key, write, since)

    async def drop_rows(self, key: Key, document: str, keep: Collection[Name], until: int) -> int:
        await Pause()
        return await super().drop_rows(key, document, keep, until)

    async def collect_fence(self, key: Key, document: str) -> bool:
        await Pause()
        return await super().collect_fence(key, document)


class UnboundedDrop(SteppingTables):
    """A removal that does not ask how old a row is."""

    async def drop_rows(self, key: Key, document: str, keep: Collection[Name], until: int) -> int:
        return await super().drop_rows(key, document, keep, 1 << 60)


class BlindToCollection(SteppingTables):
    """A commit point that does not ask whether a fence was collected meanwhile."""

    async def swap_manifest(self, key: Key, write: Write | Mark, since: int) -> Swapped:
        return await super().swap_manifest(key, write, 1 << 60)


class StampGoesBack(SteppingTables):
    """Rows whose stamp an older writer turns back."""

    async def put_rows(self, key: Key, document: str, since: int, rows: Sequence[Row]) -> None:
        held = self._spaces[key].rows.get(document, {})
        for one in rows:
            held.pop((one.digest, one.occurrence), None)
            await MemoryTables.put_rows(self, key, document, since, [one])
            await Pause()


class NoBase(SteppingTables):
    """A commit point that asks for the version alone (C1)."""

    async def swap_manifest(self, key: Key, write: Write | Mark, since: int) -> Swapped:
        stored = self._spaces[key].manifests.get(write.id)
        write = msgspec.structs.replace(write, base=stored.revision if stored else None)
        return await super().swap_manifest(key, write, since)


class History:
    """One document's log, and writers that work on it in any order."""

    def __init__(self, seed: int, tables: SteppingTables) -> None:
        self.dice = random.Random(seed)
        self.tables = tables
        self.log = [self.dice.choice(("x", *TEXTS, *TEXTS)) for _ in range(self.dice.randint(4, 8))]
        self.floor = 0
        self.top = (-1, 0)
        drive(tables.create(generation()))

    def play(self) -> None:
        workers: list[Coroutine[Any, Any, Any]] = []
        try:
            self.shuffle(workers)
            self.finish(workers)
        finally:
            for worker in workers:
                worker.close()

    def shuffle(self, workers: list[Coroutine[Any, Any, Any]]) -> None:
        position = 0
        for _ in range(90):
            chance = self.dice.random()
            if (chance < 0.25 or not workers) and position < len(self.log):
                self.start(workers, self.change(position))
                position += self.dice.choice((0, 1, 1, 2))
            elif chance < 0.33:
                self.start(workers, self.extra(position))
            elif chance < 0.38 and workers:
                workers.pop(self.dice.randrange(len(workers))).close()  # killed between two steps
            elif workers:
                worker = self.dice.choice(workers)
                if not self.step(worker):
                    workers.remove(worker)

    def start(self, workers: list[Coroutine[Any, Any, Any]], worker: Coroutine[Any, Any, Any]) -> None:
        workers.append(worker)
        if not self.step(worker):
            workers.remove(worker)

    def finish(self, workers: list[Coroutine[Any, Any, Any]]) -> None:
        """A successor goes over the log again, the zombies wake up, and at last the document is deleted."""
        for offset in range(len(self.log)):
            self.complete(self.change(offset))
        for zombie in workers:
            self.complete(zombie)
        self.complete(self.delete(99))
        assert not self.tables._spaces[KEY].rows, "rows outlived the delete"

    def complete(self, worker: Coroutine[Any, Any, Any]) -> None:
        try:
            while self.step(worker):
                pass
        finally:
            worker.close()

    def step(self, worker: Coroutine[Any, Any, Any]) -> bool:
        try:
            worker.send(None)
        except StopIteration:
            return False
        finally:
            self.check()
        return True

    def check(self) -> None:
        space = self.tables._spaces[KEY]
        manifest = space.manifests.get("d")
        if manifest is None:
            assert self.top[0] < self.floor or self.top[0] == -1, "a manifest is gone"
            return
        assert rules.names(manifest) <= space.rows.get("d", {}).keys(), "torn"
        assert (manifest.version.offset, manifest.revision) >= self.top, "back"
        self.top = (manifest.version.offset, manifest.revision)

    async def change(self, offset: int) -> None:
        """Work on one change as the engine does: plan, apply, and again on a conflict."""
        writer = MemoryIndexWriter(self.tables, STREAM, 1)
        while True:
            stored = (await writer.manifests(["d"])).get("d")
            if self.log[offset] == "x":
                await writer.apply([removal("d", at(offset))])
                return
            held = {chunk.digest for chunk in stored.chunks} if stored else set()
            keep = [text for text in self.log[offset] if row(text).digest in held]
            base = stored.revision if stored else None
            (answer,) = await writer.apply([upsert("d", at(offset), self.log[offset], base, keep=keep)])
            if answer.verdict is not Verdict.CONFLICT:
                return

    async def delete(self, offset: int) -> None:
        await MemoryIndexWriter(self.tables, STREAM, 1).apply([removal("d", at(offset))])

    async def extra(self, position: int) -> None:
        """A pass of a later recipe, a repair, a retention, a mark or a purge."""
        writer = MemoryIndexWriter(self.tables, STREAM, 1)
        kind = self.dice.choice(("policy", "repair", "retention", "mark", "purge", "purge"))
        if kind == "purge":
            floor = self.dice.randint(0, position)
            self.floor = max(self.floor, floor)
            await writer.purge([Floor(1, 0, floor)])
            return
        stored = (await writer.manifests(["d"])).get("d")
        if stored is None or stored.state is not State.LIVE:
            return
        texts = self.dice.choice(TEXTS)
        again: dict[str, Write | Mark] = {
            "policy": upsert("d", stored.version, texts, stored.revision, recipe=stored.recipe + 1),
            "repair": upsert("d", stored.version, texts, stored.revision, recipe=stored.recipe, cause=Cause.REPAIR),
            "retention": removal("d", stored.version, recipe=stored.recipe, cause=Cause.RETENTION),
            "mark": mark("d", stored.revision, None),
        }
        await writer.apply([again[kind]])


def drive(work: Coroutine[Any, Any, Any]) -> None:
    """Run without pausing."""
    try:
        while True:
            work.send(None)
    except StopIteration:
        return


def violations(tables: type[SteppingTables]) -> set[str]:
    found: set[str] = set()
    for seed in range(SEEDS):
        try:
            History(seed, tables()).play()
        except AssertionError as error:
            found.add(str(error).splitlines()[0])
        except Halt as halt:
            found.add(halt.invariant)
    return found


def test_any_interleaving_leaves_a_whole_document() -> None:
    assert violations(SteppingTables) == set()


@pytest.mark.parametrize("safeguard_off", [UnboundedDrop, StampGoesBack, NoBase])
def test_without_a_safeguard_it_breaks(safeguard_off: type[SteppingTables]) -> None:
    assert any("torn" in violation for violation in violations(safeguard_off))


@pytest.mark.parametrize(("tables", "verdict"), [(SteppingTables, Verdict.CONFLICT), (BlindToCollection, None)])
def test_planned_on_nothing_before_a_fence_that_was_collected(
    tables: type[SteppingTables], verdict: Verdict | None
) -> None:
    """The fence's removal took the rows: without the look at `purged_revision` the document would be torn."""
    history = History(0, tables())
    writer = MemoryIndexWriter(history.tables, STREAM, 1)
    answers: list[Verdict] = []

    async def zombie() -> None:
        (answer,) = await writer.apply([upsert("d", at(30), "A", None)])
        answers.append(answer.verdict)

    work = zombie()
    for _ in range(3):
        work.send(None)  # it has looked, put its row, and stands before its commit point
    drive(writer.apply([upsert("d", at(10), "B", None)]))
    drive(writer.apply([removal("d", at(20))]))
    drive(writer.purge([Floor(1, 0, 25)]))
    if verdict is None:
        with pytest.raises(AssertionError, match="torn"):
            history.complete(work)
    else:
        history.floor = 25
        history.complete(work)
        assert answers == [verdict]
