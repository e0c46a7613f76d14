"""Prefetching: nothing is bought twice, nothing is held for a document that is settled, and the index is the same."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headwater.clock import SystemClock, SystemDice, SystemIds
from headwater.embedding.batches import BatchLimits
from headwater.embedding.cache import Held, Space, key_of
from headwater.embedding.cache_sqlite import SqliteCache
from headwater.embedding.courier import Courier
from headwater.embedding.port import PROBE, Embedded, Purpose
from headwater.embedding.providers.hash import HashEmbedder
from headwater.engine.jobs import JOBS_AT_ONCE, UNLISTED
from headwater.engine.needs import Stock
from headwater.engine.prefetch import Prefetcher
from headwater.engine.stream import StreamPorts
from headwater.engine.supervisor import Machine, StreamWorker
from headwater.engine.verification import Subject, verify
from headwater.errors import Halt, Reject, Unreachable
from headwater.indexes.memory import MemoryCatalogue, MemoryIndexReader, MemoryIndexWriter, MemoryTables
from headwater.log.codecs.json import decode, delete, upsert
from headwater.log.memory import MemoryLog
from headwater.model.registry import ANY_EPOCH
from headwater.recipe.options import Chunking
from headwater.recipe.standard import StandardRecipe
from headwater.testing.batches import MemoryBatches

STREAM = "notes"


class Paid:
    """A model that counts the texts that the worker pays for."""

    def __init__(self) -> None:
        self.inner = HashEmbedder(dimensions=8)
        self.texts: Counter[str] = Counter()
        self.poison = ""
        self.witnessed = False

    async def open(self) -> None: ...

    def describe(self) -> Any:
        return msgspec.structs.replace(self.inner.describe(), witnessed=self.witnessed)

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        if self.poison and any(self.poison in text for text in texts):
            raise Reject("it cannot be embedded")
        self.texts.update(texts)
        return await self.inner.embed(texts, purpose)

    async def close(self) -> None: ...


class Other(HashEmbedder):
    """Another model behind the same name."""

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        return await super().embed([f"another {text} altogether" for text in texts], purpose)


class World:
    """A stream with its real worker and its real cache, on the in-memory adapters, and a service that takes jobs."""

    def __init__(self, folder: Path, limits: BatchLimits | None = None) -> None:
        self.clock = SystemClock()
        self.log = MemoryLog(self.clock, SystemIds())
        self.tables = MemoryTables()
        self.model = Paid()
        self.batches = MemoryBatches(HashEmbedder(dimensions=8), self.clock, limits=limits)
        self.cache = SqliteCache(folder / "cache.db", 1 << 20, lambda _error: None)
        self.writer = self.log.writer(STREAM, 1)
        self.other: HashEmbedder | None = None
        self.budget = 1 << 40
        self.recipe = StandardRecipe(1, Chunking(size=40), {}, None, self.model.describe().fingerprint)
        self.space = Space("", self.model.describe().fingerprint, 8)

    async def publish(self, **texts: str | None) -> None:
        await self.writer.append(
            [delete(id_, 1) if text is None else upsert(id_, text, 1) for id_, text in texts.items()]
        )

    async def prefetcher(self) -> Prefetcher:
        state = await self.log.registry().read(STREAM)
        made = await MemoryCatalogue(self.tables).generations(STREAM)
        stock = Stock(
            stream=STREAM,
            history=self.log.history(STREAM, STREAM, 1),
            ledger=self.log.ledger(STREAM, 1),
            epochs=state.epochs or ANY_EPOCH,
            decode=decode,
            recipe=self.recipe,
            index=MemoryIndexWriter(self.tables, STREAM, 1) if made else None,
            cache=self.cache,
            space=self.space,
        )
        asked = self.other or self.model.inner

        async def affords(tokens: int) -> bool:
            return tokens <= self.budget

        return Prefetcher(stock, asked, self.batches, label="ours", others=["theirs"], affords=affords)

    async def prefetch(self) -> None:
        """As the command does: until a turn finds nothing to do."""
        prefetcher = await self.prefetcher()
        while True:
            found = await prefetcher.turn()
            if not (prefetcher.working or found.held):
                return

    async def run(self, *, cached: bool = True) -> None:
        async def offload(work: Callable[[], Any]) -> Any:
            return work()

        dice = SystemDice()
        ports = StreamPorts(
            name=STREAM,
            open_reader=lambda: self.log.reader(STREAM, STREAM, 1, 1),
            history=self.log.history(STREAM, STREAM, 1),
            ledger=self.log.ledger(STREAM, 1),
            registry=self.log.registry(),
            catalogue=MemoryCatalogue(self.tables),
            writer=MemoryIndexWriter(self.tables, STREAM, 1),
            courier=Courier(self.model, self.clock, dice),
            recipe=lambda _number: self.recipe,
            decode=decode,
            cache=self.cache if cached else None,
        )
        machine = Machine(self.clock, dice, SystemIds(), offload, lambda _event, _fields: None)
        await StreamWorker(ports, machine).run(once=True)
        await ports.courier.close()

    async def billed(self) -> int:
        return (await self.log.ledger(STREAM, 1).totals()).usage.batch_tokens

    async def true(self) -> bool:
        subject = Subject(
            stream=STREAM,
            history=self.log.history(STREAM, STREAM, 1),
            ledger=self.log.ledger(STREAM, 1),
            registry=self.log.registry(),
            reader=MemoryIndexReader(self.tables, STREAM, 1),
            recipe=lambda _number: self.recipe,
            decode=decode,
        )
        return (await verify(subject)).ok

    async def held(self, *documents: str) -> dict[str, int]:
        return await self.cache.release("", STREAM, documents)


def play(folder: Path, story: Callable[[World], Coroutine[Any, Any, None]], limits: BatchLimits | None = None) -> World:
    async def go() -> World:
        world = World(folder, limits)
        try:
            await story(world)
        finally:
            await world.cache.close()
        return world

    return asyncio.run(go())


def test_what_was_bought_ahead_is_not_bought_by_the_worker_and_is_held_until_then(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.publish(a="one small note", b="another one", c=None)
        await world.prefetch()
        assert world.batches.jobs_held == 0
        await world.run()
        assert not {"one small note", "another one"} & set(world.model.texts)
        assert await world.true()
        assert await world.held("a", "b", "c") == {}

    world = play(tmp_path, story)
    assert world.batches.paid == {"one small note": 1, "another one": 1}


def test_a_document_that_goes_before_the_worker_saw_it_leaves_nothing_held(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.publish(a="a secret that is taken back", b="it stays")
        await world.prefetch()
        await world.publish(a=None)
        await world.run()
        assert await world.held("a", "b") == {}
        vector = (await world.model.inner.embed(["a secret that is taken back"])).vectors.tobytes()
        assert not any(vector in file.read_bytes() for file in tmp_path.iterdir())
        kept = (await world.model.inner.embed(["it stays"])).vectors.tobytes()
        assert not any(kept in file.read_bytes() for file in tmp_path.glob("*.db"))  # it is in the index alone

    play(tmp_path, story)


def test_what_a_worker_was_faster_than_is_let_go(tmp_path: Path) -> None:
    """It settled documents between the look at the log and the moment when vectors were held for them."""

    async def story(world: World) -> None:
        await world.publish(a="one small note", b="it goes")
        await world.run()
        await world.publish(b=None)
        await world.run()
        late = {id_: [Held(key_of(id_), b"\0\0\x80\x3f" + bytes(28), 1)] for id_ in "ab"}
        await world.cache.hold(world.space, STREAM, late)
        await world.prefetch()
        assert await world.held("a", "b") == {}


def test_what_is_held_for_a_document_that_was_deleted_is_let_go_at_once(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.publish(a="it goes")
        await world.prefetch()
        await world.publish(a=None)
        await world.prefetch()
        assert await world.held("a") == {}

    play(tmp_path, story)


def test_what_is_refused_is_left_to_the_worker_which_says_why(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.batches.refused = {"poison": "it cannot be embedded"}
        await world.publish(a="poison", b="it is fine")
        prefetcher = await world.prefetcher()
        await prefetcher.turn()
        found = await prefetcher.turn()
        assert (found.refused, found.texts, found.held) == (1, 1, 1)
        await prefetcher.turn()
        assert not prefetcher.working  # it is not handed in again

    play(tmp_path, story)


def test_what_the_service_had_no_time_for_is_handed_in_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.batches.answered = 2
        await world.publish(**{f"n{at}": f"note number {at}" for at in range(7)})
        await world.prefetch()
        await world.run()
        assert not any(text.startswith("note") for text in world.model.texts)

    world = play(tmp_path, story)
    assert max(count for text, count in world.batches.paid.items()) == 1


def test_a_service_without_room_gets_fewer_and_smaller_jobs(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.batches.room, world.batches.takes_s = 1, 3600
        await world.publish(**{f"n{at}": f"note number {at}" for at in range(9)})
        prefetcher = await world.prefetcher()
        while (await prefetcher.turn()).texts:
            world.batches.end_all()

    world = play(tmp_path, story, BatchLimits(calls=4, texts=4, bytes=1 << 20))
    assert sum(count for text, count in world.batches.paid.items()) == 9
    assert world.batches.handed_in == 5  # three at once, of which two were refused, and then one after the other


def test_what_is_there_or_under_way_is_not_bought_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.batches.takes_s = 3600
        await world.publish(a="the same")
        await world.run(cached=False)
        await world.publish(d="the same", e="another", f="another")
        for _ in range(2):
            found = await (await world.prefetcher()).turn()  # each one as after a kill
            assert (found.texts, found.under_way) == (2, 2)
        assert world.batches.handed_in == 1
        world.batches.end_all()
        await world.prefetch()

    world = play(tmp_path, story)
    assert world.batches.paid == {"another": 1}


def test_a_service_that_has_no_room_at_all_or_takes_nothing_says_so(tmp_path: Path) -> None:
    async def full(world: World) -> None:
        world.batches.room = 0
        await world.publish(a="a note", b="two notes", c="three notes")
        with pytest.raises(Unreachable, match="queue is full"):
            await world.prefetch()

    async def refusing(world: World) -> None:
        world.batches.refusal = "not in this region"
        await world.publish(a="a note")
        with pytest.raises(Unreachable, match="not in this region"):
            await world.prefetch()
        assert world.batches.jobs_held == 0

    play(tmp_path, full)
    play(tmp_path, refusing)


def test_jobs_of_another_model_are_not_taken_in(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.other = Other(dimensions=8)
        await world.publish(a="a note")
        with pytest.raises(Halt, match="another model"):
            await world.prefetch()
        assert world.batches.jobs_held == 0
        assert await world.held("a") == {}

    play(tmp_path, story)


def test_only_what_can_be_paid_for_is_handed_in(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.budget = 40
        await world.publish(**{f"n{at}": f"note number {at}" for at in range(9)})
        prefetcher = await world.prefetcher()
        found = await prefetcher.turn()
        assert found.under_way + found.left == 9
        assert found.left >= 6

    play(tmp_path, story, BatchLimits(calls=2, texts=2, bytes=1 << 20))


def test_one_look_at_many_refusals_makes_jobs_smaller_once_and_they_grow_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.batches.takes_s = 3600
        await world.publish(**{f"n{at}": f"note number {at}" for at in range(100)})
        prefetcher = await world.prefetcher()
        world.batches.room = 0
        await prefetcher.turn()  # all that it hands in is refused
        world.batches.room = None
        assert (await prefetcher.turn()).under_way == 8  # one job, of half the size
        world.batches.end_all()
        assert (await prefetcher.turn()).under_way == 32  # two jobs, of the full size

    play(tmp_path, story, BatchLimits(calls=16, texts=16, bytes=1 << 20))


def test_a_service_that_never_lists_what_it_took_is_given_up_and_gets_nothing_twice(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.batches.takes_s = 3600
        await world.publish(a="a note")
        prefetcher = await world.prefetcher()
        world.batches.hidden = True
        for _ in range(UNLISTED):
            await prefetcher.turn()
        with pytest.raises(Unreachable, match="does not list it"):
            await prefetcher.turn()
        assert (world.batches.handed_in, world.batches.jobs_held) == (1, 0)

    play(tmp_path, story)


def test_what_is_paid_for_is_billed_whatever_becomes_of_its_document(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.publish(a="it is bought, and goes", b="it is bought, and is settled meanwhile")
        world.batches.takes_s = 3600
        await (await world.prefetcher()).turn()
        await world.run()
        world.batches.end_all()
        world.batches.takes_s = 0
        await world.publish(c="it is held, and goes", d="it stays")
        await world.prefetch()
        await world.publish(c=None)
        await world.prefetch()
        before = await world.billed()
        await world.publish(e="whatever comes next")
        await world.run()
        held = ["it is bought, and goes", "it is bought, and is settled meanwhile", "it is held, and goes", "it stays"]
        assert before == 0
        assert await world.billed() == sum(len(text.split()) for text in held)

    play(tmp_path, story)


def test_a_document_in_the_dead_letters_needs_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        part = "The first part of it is good. "
        long = part * 3 + "\n\npoison"
        world.batches.refused = {part + "\n\npoison": "it cannot be embedded"}
        world.model.poison = "poison"
        await world.publish(a=long)
        await world.prefetch()
        await world.run()
        paid = Counter(world.batches.paid)
        assert list(paid) == [(part * 2).strip()]
        await world.prefetch()
        assert world.batches.paid == paid
        assert await world.held("a") == {}

    play(tmp_path, story)


def test_a_model_that_was_swapped_before_it_was_asked_ahead_is_found_out_by_both(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.model.witnessed = True
        await world.publish(a="a note")
        await world.run()
        world.other = Other(dimensions=8)
        world.batches = MemoryBatches(world.other, world.clock)
        await world.publish(b="another note")
        with pytest.raises(Halt, match="cache was filled"):
            await world.prefetch()
        assert world.batches.handed_in == 0
        # And where it could not be known: nothing was in the cache yet.
        await world.cache.forget("", [key_of(PROBE).digest])
        await world.prefetch()
        await world.run()
        assert "b" not in await MemoryIndexWriter(world.tables, STREAM, 1).manifests(["a", "b"])

    play(tmp_path, story)


def test_the_jobs_of_other_streams_of_the_account_are_paid_for_too(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.batches.takes_s = 3600
        await world.batches.submit("theirs", [["a rather long text that another stream has bought ahead"]])
        world.budget = 60
        await world.publish(a="a note that could be paid for alone")
        assert (await (await world.prefetcher()).turn()).left == 1

    play(tmp_path, story)


def test_a_look_changes_nothing(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await world.publish(a="a note", b="another note", c=" ")
        found = await (await world.prefetcher()).look()
        assert (found.documents, found.texts, found.left) == (2, 2, 2)
        assert world.batches.jobs_held == 0

    play(tmp_path, story)


def test_so_many_jobs_are_under_way_and_no_more(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.batches.takes_s = 3600
        await world.publish(**{f"n{at}": f"note number {at}" for at in range(3 * JOBS_AT_ONCE)})
        prefetcher = await world.prefetcher()
        await prefetcher.turn()
        assert prefetcher.working == world.batches.jobs_held == JOBS_AT_ONCE

    play(tmp_path, story, BatchLimits(calls=3, texts=3, bytes=1 << 20))


@pytest.mark.parametrize("seed", range(40))
def test_any_order_of_events_ends_true_with_nothing_held(tmp_path: Path, seed: int) -> None:
    """Two documents and three texts; prefetchers that are given up between two turns; workers between them."""
    dice = random.Random(seed)

    async def story(world: World) -> None:
        for _ in range(12):
            step = dice.randrange(6)
            if step == 0:
                await world.publish(**{dice.choice("xy"): dice.choice(["red fish", "blue fish", "a lighthouse", None])})
            elif step == 1:
                await world.run()
            elif step == 2:
                world.batches.takes_s = dice.choice([0.0, 3600.0])
            elif step == 3:
                world.batches.end_all()
            elif step == 4:
                await (await world.prefetcher()).turn()
            else:
                world.batches.answered = dice.choice([None, 1, 2])
        world.batches.answered = None
        world.batches.takes_s = 0.0
        world.batches.end_all()
        await world.run()
        await world.prefetch()
        assert await world.true()
        assert await world.held("x", "y") == {}
        assert world.batches.jobs_held == 0

    play(tmp_path, story)
