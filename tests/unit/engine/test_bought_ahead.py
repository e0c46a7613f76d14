"""What was bought ahead for documents: taken from the cache, let go of and paid for when they settle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from headwater.clock import SystemClock, SystemDice
from headwater.embedding.cache import Held, Kept, Space, key_of
from headwater.embedding.cache_sqlite import SqliteCache
from headwater.embedding.courier import Courier
from headwater.embedding.gateway import Gateway
from headwater.embedding.providers.hash import HashEmbedder
from headwater.engine.apply import Applier
from headwater.engine.commit import Frontier, Positions
from headwater.engine.ordering import Chain
from headwater.errors import Retry, Unreachable
from headwater.indexes.memory import MemoryCatalogue, MemoryIndexWriter, MemoryTables
from headwater.log.codecs.json import decode, delete, upsert
from headwater.model.change import Outgoing, Record
from headwater.model.generation import Generation, GenerationState
from headwater.model.manifest import Outcome, State
from headwater.model.receipt import Counts, Receipt, Usage
from headwater.model.registry import Epoch
from headwater.patience import Patience
from headwater.recipe.options import Chunking
from headwater.recipe.standard import StandardRecipe

EPOCHS = (Epoch(1, "log", 1),)
TOKENS = 7
#: Not decoded, not embedded, and never the model's: a vector that only the cache can have given.
AHEAD = b"\0\0\x80\x3f" + bytes(28)
Way = Callable[[], Awaitable[Any]]


class CrashError(Exception):
    """The process is killed here."""


class Failing:
    """A port whose calls are counted with those of others; one of them ends the process, before or after its work."""

    def __init__(self, port: Any, verbs: frozenset[str], calls: Callable[[str, Way], Awaitable[Any]]) -> None:
        self._port, self._verbs, self._calls = port, verbs, calls

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._port, name)
        if name not in self._verbs:
            return verb
        return lambda *arguments: self._calls(name, lambda: verb(*arguments))


class World:
    """An index, a cache in a file, and processes that work with them one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables = MemoryTables()
        self.embedder = HashEmbedder(dimensions=8)
        description = self.embedder.describe()
        self.space = Space("t", description.fingerprint, 8)
        self.recipe = StandardRecipe(1, Chunking(), {}, None, description.fingerprint)
        self.index: Any = MemoryIndexWriter(self.tables, "s", 1)
        self.cache: Any = self.process()
        self.usage = Usage()

    def process(self) -> SqliteCache:
        return SqliteCache(self.path, 1 << 24, lambda error: None)

    async def create(self) -> None:
        generation = Generation(
            stream="s",
            number=1,
            state=GenerationState.SERVING,
            recipe=1,
            fingerprints=self.recipe.fingerprints,
            model="hash",
            dimensions=8,
            incarnation="i",
            log_identity="log",
            log_epoch=1,
            created_us=0,
        )
        await MemoryCatalogue(self.tables).create(generation)

    async def settle(self, *chains: tuple[int, Outgoing]) -> list[Receipt]:
        """Settle changes by their offsets, each document's newest first, as a process that is new."""

        async def offload(work: Callable[[], Any]) -> Any:
            return work()

        clock, dice = SystemClock(), SystemDice()
        patience = Patience(clock, dice, lambda outage, dependency: None)
        applier = Applier(
            self.index,
            self.recipe,
            Gateway(Courier(self.embedder, clock, dice), "s", patience),
            clock=clock,
            patience=patience,
            offload=offload,
            positions=Positions(Frontier(), EPOCHS),
            kept=Kept(self.cache, self.space, "s"),
        )
        ids: dict[str, list[Any]] = {}
        for offset, it in chains:
            ids.setdefault(it.key.decode(), []).append(decode(Record(0, offset, it.key, it.value, 1), EPOCHS))
        receipts = await applier.settle([Chain(id_, tuple(changes)) for id_, changes in ids.items()])
        self.usage = applier.usage
        return receipts

    async def hold(self, *ids: str, text: str = "ahead") -> None:
        """Hold a text for documents. What was indexed with it has a vector that the model did not make."""
        await self.cache.hold(self.space, "s", {id_: [Held(key_of(text), AHEAD, TOKENS)] for id_ in ids})

    async def held(self, *ids: str) -> dict[str, int]:
        """Release what is held, by another process, and tell what it was."""
        cache = self.process()
        found = await cache.release("t", "s", ids)
        await cache.close()
        return found

    async def states(self) -> dict[str, State]:
        return {id_: it.state for id_, it in (await self.index.manifests(["a", "b", "c", "d"])).items()}


def played(test: Callable[[World], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def scenario() -> None:
            world = World(tmp_path / "cache.db")
            await world.create()
            try:
                await test(world)
            finally:
                await world.cache.close()

        asyncio.run(asyncio.wait_for(scenario(), 30))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@played
async def test_it_is_taken_let_go_of_and_paid_for(world: World) -> None:
    await world.hold("a", "another")
    (receipt,) = await world.settle((1, upsert("a", "ahead", 1)))
    assert (await world.index.vectors([key_of("ahead").digest])) != {}
    assert receipt.counts == Counts(chunks=1, reused=1, tokens=TOKENS)
    assert world.usage == Usage(reused=1, tokens=TOKENS, batch_tokens=TOKENS)
    assert await world.held("a", "another") == {"another": TOKENS}


@played
async def test_what_nobody_needs_any_more_is_paid_for_beside_what_is(world: World) -> None:
    await world.hold("a")
    receipts = await world.settle((2, upsert("a", "one two", 1)), (1, upsert("a", "ahead", 1)))
    now = world.usage.tokens - world.usage.batch_tokens
    assert now > 0
    assert [(it.outcome, it.counts.tokens) for it in receipts] == [
        (Outcome.INDEXED, now + TOKENS),
        (Outcome.SUPERSEDED, 0),
    ]
    assert world.usage == Usage(calls=1, texts=1, tokens=now + TOKENS, batch_tokens=TOKENS)
    assert await world.held("a") == {}


@played
async def test_a_document_without_anything_is_billed_nothing(world: World) -> None:
    await world.hold("another")
    (receipt,) = await world.settle((1, delete("a", 1)))
    assert (receipt.counts.tokens, world.usage) == (0, Usage())


@played
async def test_a_dead_letter_lets_go_too_and_only_after_an_older_change_had_its_vectors(world: World) -> None:
    await world.hold("a")
    receipts = await world.settle((2, Outgoing(b"a", b"{")), (1, upsert("a", "ahead", 1)))
    assert [(it.outcome, it.counts.tokens) for it in receipts] == [(Outcome.DEAD, TOKENS), (Outcome.INDEXED, 0)]
    assert world.usage == Usage(reused=1, tokens=TOKENS, batch_tokens=TOKENS)
    assert await world.held("a") == {}


@played
async def test_what_is_deleted_lets_go_before_the_index_does(world: World) -> None:
    await world.settle((1, upsert("a", "ahead", 1)))
    await world.hold("a", text="not indexed")
    index = world.index

    async def killed(name: str, verb: Way) -> None:
        raise CrashError

    world.index = Failing(index, frozenset({"apply"}), killed)
    with pytest.raises(CrashError):
        await world.settle((2, delete("a", 2)))
    assert await world.states() == {"a": State.LIVE}
    assert await world.held("a") == {}
    world.index = index
    (receipt,) = await world.settle((2, delete("a", 2)))
    assert receipt.outcome is Outcome.DELETED


@played
async def test_what_a_killed_process_left_goes_when_its_change_comes_again(world: World) -> None:
    await world.settle((1, upsert("a", "ahead", 1)))
    await world.hold("a")
    (receipt,) = await world.settle((1, upsert("a", "ahead", 1)))
    assert (receipt.outcome, receipt.counts.tokens) == (Outcome.INDEXED, TOKENS)
    assert await world.held("a") == {}


@played
async def test_what_cannot_be_read_stops_deletes_and_nothing_else(world: World) -> None:
    await world.settle((1, upsert("b", "x", 1)))
    await world.cache.close()
    world.path.write_bytes(b"no database at all" * 100)
    for rest in world.path.parent.glob("cache.db-*"):
        rest.unlink()
    world.cache = world.process()
    (receipt,) = await world.settle((2, upsert("a", "ahead", 1)))
    assert receipt.outcome is Outcome.INDEXED
    with pytest.raises(Unreachable):
        await world.settle((3, delete("b", 1)))
    assert await world.states() == {"a": State.LIVE, "b": State.LIVE}


@played
async def test_a_cache_that_is_away_holds_up_deletes_alone(world: World) -> None:
    """What was held is let go of and billed when the document comes up again."""
    await world.hold("a", "b")
    attempts = count()

    async def locked(name: str, verb: Way) -> Any:
        if next(attempts) < 2:
            raise Retry("cache", "it is locked")
        return await verb()

    cache, world.cache = world.cache, Failing(world.cache, frozenset({"release"}), locked)
    (receipt,) = await world.settle((1, upsert("a", "ahead", 1)))
    assert (next(attempts), receipt.counts.tokens) == (1, 0)
    attempts = count()
    (receipt,) = await world.settle((2, delete("b", 1)))
    assert next(attempts) > 2  # it was waited for
    world.cache = cache
    (receipt,) = await world.settle((3, upsert("a", "ahead of all", 2)))
    assert receipt.counts.tokens >= TOKENS
    assert await world.held("a", "b") == {}


HISTORY = (
    (1, upsert("a", "ahead", 1)),
    (2, upsert("b", "ahead", 1)),
    (4, delete("c", 1)),
    (3, upsert("c", "ahead", 1)),
    (6, Outgoing(b"d", b"{")),
    (5, upsert("d", "ahead", 1)),
)
LATER = ((7, delete("a", 2)), (8, upsert("b", "ahead of all", 2)))
CALLS = {"cache": frozenset({"hold", "release", "forget", "put", "get"}), "index": frozenset({"apply"})}


class Killed:
    """Works with a world; the process is killed at the Nth call of a port, and another goes on."""

    def __init__(self, world: World, number: int, *, after: bool) -> None:
        self.world, self.left, self.after = world, number, after
        self.paid = 0

    async def step(self, work: Callable[[], Awaitable[list[Receipt] | None]]) -> None:
        world = self.world
        cache, index = world.cache, world.index
        world.cache, world.index = (
            Failing(cache, CALLS["cache"], self._call),
            Failing(index, CALLS["index"], self._call),
        )
        try:
            receipts = await work()
        except CrashError:
            receipts = await work()
        world.cache, world.index = cache, index
        self.paid += sum(it.counts.tokens for it in receipts or ())

    async def _call(self, name: str, verb: Way) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise CrashError
        result = await verb()
        if self.left == 0:
            raise CrashError
        return result


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_wherever_a_process_is_killed_nothing_stays_held_and_the_index_is_true(tmp_path: Path, after: bool) -> None:
    """Killed at the Nth call, before it or after it was done; what was not settled comes again, to a new process."""

    async def killed_at(number: int) -> bool:
        world = World(tmp_path / f"{number}.db")
        await world.create()
        killed = Killed(world, number, after=after)
        await killed.step(lambda: world.hold("a", "b", "c", "d"))
        await killed.step(lambda: world.settle(*HISTORY))
        await killed.step(lambda: world.hold("a", "b", text="ahead of all"))
        await killed.step(lambda: world.settle(*LATER))
        assert await world.held("a", "b", "c", "d") == {}, f"call {number}"
        assert await world.states() == {"a": State.DELETED, "b": State.LIVE, "c": State.DELETED, "d": State.LIVE}
        assert set(await world.index.vectors([key_of("ahead of all").digest])) == {key_of("ahead of all").digest}
        whole = killed.left > 0
        assert killed.paid == 6 * TOKENS if whole else killed.paid <= 6 * TOKENS
        await world.cache.close()
        return not whole

    async def every_call() -> int:
        number = 1
        while await killed_at(number):
            number += 1
        return number

    assert asyncio.run(every_call()) > 10
