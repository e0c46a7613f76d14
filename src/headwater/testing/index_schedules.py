"""The named schedules of the design, as far as they are the index's, as tests."""

from __future__ import annotations

import pytest

from headwater.errors import Halt, HeadwaterError
from headwater.model.generation import Floor, Position
from headwater.model.manifest import Cap, Outcome, State
from headwater.model.version import Place
from headwater.testing.index_scenario import (
    APPLIED,
    CONFLICT,
    STALE,
    ContractBase,
    Index,
    at,
    generation,
    mark,
    removal,
    scenario,
    scenario_of,
    upsert,
)


class ScheduleContract(ContractBase):
    """The named schedules of the design, as far as they are the index's."""

    @scenario_of(needs="fenced")
    async def test_c1_a_zombie_keeps_what_its_successor_removed(self, index: Index) -> None:
        """Conflict, never a torn document."""
        old = await index.put(upsert("d", at(10), ["A", "B"], None))
        zombie = upsert("d", at(12), ["A", "B", "D"], old, keep=["A", "B"])
        await index.put(upsert("d", at(11), ["B", "C"], old, keep=["B"]))
        assert await index.apply(zombie) == [CONFLICT]
        assert await index.texts() == {"d": {"B", "C"}}
        await index.put(upsert("d", at(12), ["A", "B", "D"], await index.base("d"), keep=["B"]))
        await index.whole()

    @scenario_of(needs="fenced")
    async def test_c2_a_zombie_writes_after_unchanged(self, index: Index) -> None:
        """The unchanged one stands at its version: older is stale, newer on the old base is a conflict."""
        old = await index.put(upsert("d", at(10), ["A", "B"], None))
        await index.put(upsert("d", at(12), ["A", "B"], old, keep=["A", "B"], outcome=Outcome.UNCHANGED))
        assert await index.apply(upsert("d", at(11), ["B", "C"], old, keep=["B"])) == [STALE]
        assert await index.apply(upsert("d", at(13), ["B", "C"], old, keep=["B"])) == [CONFLICT]
        assert await index.texts() == {"d": {"A", "B"}}

    @scenario
    async def test_c3_a_delete_that_a_poison_overtook(self, index: Index) -> None:
        """The dead one's mark leaves room for the delete, and the cap stays with the fence."""
        old = await index.put(upsert("d", at(8), ["S"], None))
        cap = Cap(at(12), ())
        await index.put(mark("d", old, cap))
        await index.put(removal("d", at(10)))
        found = (await index.writer.manifests(["d"]))["d"]
        assert (found.state, found.cap, await index.texts()) == (State.DELETED, cap, {})

    @scenario
    async def test_c5_mirrored_history_in_a_new_epoch(self, index: Index) -> None:
        """A copy has its original's version: it is not newer than the delete that it stood before."""
        await index.put(removal("d", at(90)))
        copied = upsert("d", at(5), ["S"], await index.base("d"), place=Place(0, 5))
        assert await index.apply(copied) == [STALE]
        assert await index.texts() == {}
        await index.put(upsert("d", at(0, epoch=2), ["S"], await index.base("d")))

    @scenario
    async def test_c7_two_partitions_of_one_epoch(self, index: Index) -> None:
        """Halt, and nothing of the call is applied."""
        base = await index.put(upsert("d", at(9000, partition=2), ["S"], None))
        with pytest.raises(Halt, match="identity-collision"):
            await index.writer.apply(
                [upsert("e", at(1), ["E"], None), upsert("d", at(3), ["T"], base)], [Position(0, 1, 4)]
            )
        assert await index.texts() == {"d": {"S"}}
        assert (await index.reader.generation()).positions == ()

    @scenario
    async def test_c12_a_partial_apply_then_a_later_version(self, index: Index) -> None:
        """The document is whole, and nothing is left of what failed."""
        old = await index.put(upsert("d", at(10), ["A", "B"], None))
        with index.harness.broken(), pytest.raises(HeadwaterError):
            await index.put(upsert("d", at(11), ["B", "C"], old, keep=["B"]))
        assert await index.texts() == {"d": {"A", "B"}}
        await index.put(upsert("d", at(12), ["A", "D"], old, keep=["A"]))
        assert (await index.texts(), await index.reader.orphans()) == ({"d": {"A", "D"}}, 0)
        await index.whole()

    @scenario
    async def test_c13_hidden_released_and_hidden_by_a_zombie(self, index: Index) -> None:
        """The zombie's base is no longer the stored one."""
        old = await index.put(upsert("d", at(10), ["A"], None, tags=("all", "staff")))
        cap = Cap(at(11), ("staff",))
        hidden = await index.put(mark("d", old, cap))
        assert await index.texts() == {}
        await index.put(mark("d", hidden, None))
        assert await index.texts() == {"d": {"A"}}
        assert await index.apply(mark("d", old, cap), mark("e", 5, cap)) == [CONFLICT, CONFLICT]
        assert await index.texts() == {"d": {"A"}}

    @scenario
    async def test_c13_a_cap_shows_what_is_not_wider(self, index: Index) -> None:
        """And ends with a version that is not older than it."""
        base = await index.put(upsert("d", at(10), ["A"], None, tags=("staff",)))
        base = await index.put(mark("d", base, Cap(at(12), ("staff", "all"))))
        assert await index.texts() == {"d": {"A"}}
        base = await index.put(upsert("d", at(11), ["B"], base, tags=("world",)))
        assert await index.texts() == {}
        await index.put(upsert("d", at(12), ["C"], base, tags=("world",)))
        assert await index.texts() == {"d": {"C"}}

    @scenario_of(made=generation(floors=(Floor(1, 0, 0), Floor(1, 1, 1))))
    async def test_c15_the_first_change_against_the_floor(self, index: Index) -> None:
        """The floor itself is not below it."""
        assert await index.apply(
            upsert("a", at(0), ["x"], None), upsert("b", at(0, partition=1), ["x"], None), removal("c", at(0))
        ) == [APPLIED, STALE, APPLIED]
