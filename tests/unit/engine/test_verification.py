"""Verification finds each kind of damage, blames nothing that is sound, and repair mends what can be mended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from headwater.clock import SystemClock, SystemDice, SystemIds
from headwater.embedding.gateway import Gateway
from headwater.embedding.providers.hash import HashEmbedder
from headwater.engine.repair import Tools, repair
from headwater.engine.supervisor import End, Ended, Machine, StreamPorts, StreamWorker
from headwater.engine.verification import Kind, Subject, Verification, verify
from headwater.indexes.memory import MemoryCatalogue, MemoryIndexReader, MemoryIndexWriter, MemoryTables
from headwater.indexes.memory_tables import Key, _Held, _Space
from headwater.log.codecs.json import decode, delete, upsert
from headwater.log.memory import MemoryLog
from headwater.model.change import Change, Outgoing, digest
from headwater.model.manifest import Cause, Manifest, State
from headwater.model.receipt import DeadState
from headwater.model.version import Place, Version
from headwater.patience import Patience
from headwater.recipe.options import Chunking, PayloadField
from headwater.recipe.standard import StandardRecipe

STREAM = "articles"
LONG = "\n\n".join(f"Paragraph {i} says something about rivers, banks and sources, number {i}." for i in range(12))


class World:
    """A stream with its real worker, on the in-memory adapters."""

    def __init__(self, partitions: int = 1, predicate: Callable[[Change], bool] | None = None) -> None:
        self.clock = SystemClock()
        self.log = MemoryLog(self.clock, SystemIds())
        self.tables = MemoryTables()
        self.embedder = HashEmbedder(dimensions=16)
        self.partitions = partitions
        self.predicate = predicate
        self.writer = self.log.writer(STREAM, partitions)
        self.index = MemoryIndexReader(self.tables, STREAM, 1)

    def recipe(self, number: int) -> StandardRecipe:
        return StandardRecipe(
            number,
            Chunking(size=120),
            {"title": PayloadField("title"), "rank": PayloadField("rank", required=False)},
            None,
            self.embedder.describe().fingerprint,
            predicate=self.predicate,
            predicate_name="test" if self.predicate else "",
        )

    async def publish(self, *changes: Outgoing) -> None:
        await self.writer.append(changes)

    async def run(self) -> Ended:
        async def offload(work: Callable[[], Any]) -> Any:
            return work()

        ports = StreamPorts(
            name=STREAM,
            reader=self.log.reader(STREAM, STREAM, 1, self.partitions),
            history=self.log.history(STREAM, STREAM, self.partitions),
            ledger=self.log.ledger(STREAM, 1),
            registry=self.log.registry(),
            catalogue=MemoryCatalogue(self.tables),
            writer=MemoryIndexWriter(self.tables, STREAM, 1),
            embedder=self.embedder,
            recipe=self.recipe,
            decode=decode,
        )
        machine = Machine(
            clock=self.clock,
            dice=SystemDice(),
            ids=SystemIds(),
            offload=offload,
            emit=lambda event, fields: None,
            control_s=0.02,
        )
        return await StreamWorker(ports, machine).run(once=True)

    @property
    def subject(self) -> Subject:
        return Subject(
            stream=STREAM,
            history=self.log.history(STREAM, STREAM, self.partitions),
            ledger=self.log.ledger(STREAM, 1),
            registry=self.log.registry(),
            reader=self.index,
            recipe=self.recipe,
            decode=decode,
        )

    @property
    def tools(self) -> Tools:
        patience = Patience(self.clock, SystemDice(), lambda outage, dependency: None)
        return Tools(MemoryIndexWriter(self.tables, STREAM, 1), Gateway(self.embedder, patience), self.clock)

    @property
    def space(self) -> _Space:
        return self.tables._space(Key(STREAM, 1))

    def manifest(self, document: str) -> Manifest:
        return self.space.manifests[document]

    def change(self, document: str, **values: Any) -> None:
        """Damage a manifest behind everybody's back."""
        self.space.manifests[document] = msgspec.structs.replace(self.manifest(document), **values)


async def _settled(world: World) -> World:
    await world.publish(
        upsert("a", LONG, 1),
        upsert("b", "The second document.", 2),
        upsert("gone", "To be deleted.", 3),
        upsert("b", "The second document, changed.", 4),
        delete("gone", 5),
        delete("never", 6),
        upsert("empty", "", 7),
    )
    ended = await world.run()
    assert ended.end is End.DONE, ended
    return world


def check(test: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def go() -> None:
        await test(await _settled(World(**options)))

    asyncio.run(go())


def kinds(found: Verification) -> dict[str, Kind]:
    return {finding.id: finding.kind for finding in found.findings}


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_settled_stream_is_sound(partitions: int) -> None:
    async def test(world: World) -> None:
        found = await verify(world.subject)
        assert found.ok
        assert found.shape() == {
            "documents": 3,
            "missing": 0,
            "stale": 0,
            "orphans": 0,
            "duplicates": 0,
            "resurrected": 0,
            "unverifiable": 0,
            "ok": True,
        }
        assert found.findings == ()

    check(test, partitions=partitions)
