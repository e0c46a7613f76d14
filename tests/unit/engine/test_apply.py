"""The applier's rounds end, whatever the index answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from headwater.clock import SystemClock, SystemDice
from headwater.embedding.courier import Courier
from headwater.embedding.gateway import Gateway
from headwater.embedding.providers.hash import HashEmbedder
from headwater.engine.apply import Applier
from headwater.engine.commit import Frontier, Positions
from headwater.engine.ordering import Chain
from headwater.indexes.memory import MemoryCatalogue, MemoryIndexWriter, MemoryTables
from headwater.log.codecs.json import decode, delete, upsert
from headwater.model.change import Outgoing, Record
from headwater.model.generation import Floor, Generation, GenerationState
from headwater.model.manifest import Mark, Outcome
from headwater.model.receipt import Receipt
from headwater.model.registry import Epoch
from headwater.patience import Patience
from headwater.recipe.options import Chunking
from headwater.recipe.standard import StandardRecipe

EPOCHS = (Epoch(1, "log", 1),)


def settle(*outgoing: tuple[int, Outgoing], floor: int, marked: bool = False, removes: bool = False) -> list[Receipt]:
    async def offload(work: Callable[[], Any]) -> Any:
        return work()

    async def go() -> list[Receipt]:
        embedder = HashEmbedder(dimensions=8)
        recipe = StandardRecipe(1, Chunking(), {}, None, embedder.describe().fingerprint)
        tables = MemoryTables()
        await MemoryCatalogue(tables).create(
            Generation(
                stream="s",
                number=1,
                state=GenerationState.SERVING,
                recipe=1,
                fingerprints=recipe.fingerprints,
                model="hash",
                dimensions=8,
                incarnation="i",
                log_identity="log",
                log_epoch=1,
                created_us=0,
            )
        )
        index = MemoryIndexWriter(tables, "s", 1)
        await index.purge([Floor(1, 0, floor)])
        if marked:
            await index.apply([Mark(id="a", recipe=1, base=None, cap=None, time_us=1)])
        clock = SystemClock()
        patience = Patience(clock, SystemDice(), lambda outage, dependency: None)
        applier = Applier(
            index,
            recipe,
            Gateway(Courier(embedder, clock, SystemDice()), "s", patience),
            clock=clock,
            patience=patience,
            offload=offload,
            positions=Positions(Frontier(), EPOCHS),
        )
        changes = [decode(Record(0, offset, it.key, it.value, 1), EPOCHS) for offset, it in outgoing]
        return await asyncio.wait_for(applier.settle([Chain("a", tuple(changes), removes)]), 10)

    return asyncio.run(go())


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("change", [upsert("a", "x", 1), delete("a", 1)])
def test_what_is_below_the_floor_is_stale_and_done(change: Outgoing, marked: bool) -> None:
    receipts = settle((4, change), (3, upsert("a", "w", 1)), floor=5, marked=marked)
    assert [receipt.outcome for receipt in receipts] == [Outcome.STALE, Outcome.STALE]
    assert [receipt.version.offset for receipt in receipts] == [4, 3]


def test_the_floor_itself_is_not_below_it() -> None:
    receipts = settle((5, upsert("a", "x", 1)), (4, upsert("a", "w", 1)), floor=5)
    assert [receipt.outcome for receipt in receipts] == [Outcome.INDEXED, Outcome.SUPERSEDED]


def test_poison_below_the_floor_is_a_dead_letter() -> None:
    receipts = settle((4, Outgoing(b"a", b"{")), (3, upsert("a", "w", 1)), floor=5)
    assert [receipt.outcome for receipt in receipts] == [Outcome.DEAD, Outcome.STALE]


def test_the_filter_is_not_asked_again_about_what_it_took_away() -> None:
    # This recipe would let it pass: what was seen on the change's arrival holds.
    (receipt,) = settle((5, upsert("a", "x", 1)), floor=0, removes=True)
    assert receipt.outcome is Outcome.FILTERED
