"""Each safeguard of the core, and how to switch it off: one function, replaced from here. Product code has no switches.

`broken` is what the simulation must then find violated. A safeguard whose absence nobody notices guards nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

import headwater.indexes.memory as memory_index
import headwater.log.memory as memory_log
from headwater.embedding import answers, courier
from headwater.embedding.port import Embedded
from headwater.engine import apply
from headwater.engine.commit import Frontier, Positions
from headwater.engine.job import Job
from headwater.engine.plan import Decision, Ready, Repeat, Stale, plan
from headwater.indexes import memory_tables, rules
from headwater.indexes.port import Hit
from headwater.model import fence
from headwater.model.change import Change, Op
from headwater.model.generation import Generation
from headwater.model.manifest import Answer, Manifest, Mark, Outcome, Row, Verdict, Write
from headwater.model.receipt import Counts, DeadState
from headwater.model.version import Place
from tests.histories import Safeguard
from tests.simulation_courier.safeguards import blame_without_a_probe


def _admit_any_base(patch: pytest.MonkeyPatch) -> None:
    def admit(write: Write | Mark, stored: Manifest | None, generation: Generation) -> Answer:
        based = msgspec.structs.replace(write, base=stored.revision if stored else None)
        return fence.admit(based, stored, generation)

    # Without the base nobody knows whether the kept rows are still there, so the check for torn writes goes with it.
    patch.setattr(memory_tables, "admit", admit)
    patch.setattr(memory_index, "admit", admit)
    patch.setattr(rules, "check_whole", lambda write, held: None)


def _admit_any_version(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(fence, "outdated", lambda write, stored: False)


def _fence_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = memory_tables.MemoryTables.swap_manifest

    async def swap(self: Any, key: Any, write: Write | Mark, since: int) -> memory_tables.Swapped:
        swapped = await real(self, key, write, since)
        if swapped.answer.verdict is Verdict.APPLIED and isinstance(write, Write) and write.manifest.state.fence:
            self._spaces[key].manifests.pop(write.id)
        return swapped

    patch.setattr(memory_tables.MemoryTables, "swap_manifest", swap)


def _commit_what_was_read(patch: pytest.MonkeyPatch) -> None:
    def settled(self: Any, also: Any = ()) -> dict[int, tuple[int, bytes]]:
        return {
            number: (partition.end, b"")
            for number, partition in self._partitions.items()
            if partition.end > self._committed[number]
        }

    patch.setattr(Frontier, "settled", settled)


def _poison_takes_the_older_along(patch: pytest.MonkeyPatch) -> None:
    real = Job.buried

    def buried(self: Job, recipe: int, revision: int) -> None:
        newest = self.left[0]
        real(self, recipe, revision)
        if self.left:
            dead = self.receipts[-1]
            superseded = [
                msgspec.structs.replace(
                    dead, outcome=Outcome.SUPERSEDED, version=it.version, place=it.place, overtaken_by=newest.version
                )
                for it in self.left
            ]
            self.receipts += superseded
            self.left.clear()

    patch.setattr(Job, "buried", buried)


def _plan(patch: pytest.MonkeyPatch, instead: Callable[[Change, Manifest | None, Decision], Decision]) -> None:
    def other(change: Change, stored: Manifest | None, recipe: int, now_us: int, *, passes: bool) -> Decision:
        return instead(change, stored, plan(change, stored, recipe, now_us, passes=passes))

    patch.setattr(apply, "plan", other)


def _unchanged_writes_nothing(patch: pytest.MonkeyPatch) -> None:
    def instead(change: Change, stored: Manifest | None, decision: Decision) -> Decision:
        if isinstance(decision, Ready) and decision.write.manifest.outcome is Outcome.UNCHANGED:
            assert stored is not None
            return Repeat(stored)
        return decision

    _plan(patch, instead)


def _filtered_is_skipped(patch: pytest.MonkeyPatch) -> None:
    def instead(change: Change, stored: Manifest | None, decision: Decision) -> Decision:
        if isinstance(decision, Ready) and decision.write.manifest.outcome is Outcome.FILTERED:
            return Repeat(stored or decision.write.manifest)
        return decision

    _plan(patch, instead)


def _a_repeat_is_only_stale(patch: pytest.MonkeyPatch) -> None:
    def instead(change: Change, stored: Manifest | None, decision: Decision) -> Decision:
        return Stale(decision.manifest) if isinstance(decision, Repeat) and change.op is Op.DELETE else decision

    _plan(patch, instead)


def _a_conflict_is_taken_for_done(patch: pytest.MonkeyPatch) -> None:
    real = apply.Applier._apply

    async def forgetful(self: Any, writes: Sequence[tuple[Job, Write | Mark, Counts]]) -> None:
        await real(self, writes)
        for job, write, counts in writes:
            if job.left and isinstance(write, Write) and job.left[0].version == write.manifest.version:
                job.settled(write.manifest, counts, 1)

    patch.setattr(apply.Applier, "_apply", forgetful)


def _readers_trust_the_rows(patch: pytest.MonkeyPatch) -> None:
    async def search(self: Any, vector: bytes, k: int, where: Mapping[str, Any]) -> list[Hit]:
        stored = await self._tables.documents(self._key, None)
        return [
            Hit(it.manifest, None, text, 1.0)  # type: ignore[arg-type]
            for it in stored
            for text, _ in it.rows.values()
        ]

    patch.setattr(memory_index.MemoryIndexReader, "search", search)


def _removal_before_the_manifest_is_won(patch: pytest.MonkeyPatch) -> None:
    real = memory_index.MemoryIndexWriter._carry_out

    async def hasty(self: Any, write: Write | Mark, foreseen: Answer, moment: Any) -> Answer:
        if isinstance(write, Write) and foreseen.verdict is Verdict.APPLIED:
            keep = rules.names(write.manifest)
            await self._tables.drop_rows(self._key, write.id, keep, moment.generation.next_revision)
        return await real(self, write, foreseen, moment)

    patch.setattr(memory_index.MemoryIndexWriter, "_carry_out", hasty)


def _removal_without_a_bound(patch: pytest.MonkeyPatch) -> None:
    real = memory_tables.MemoryTables.drop_rows

    async def drop(self: Any, key: Any, document: str, keep: Any, until: int) -> int:
        return await real(self, key, document, keep, 1 << 60)

    patch.setattr(memory_tables.MemoryTables, "drop_rows", drop)


def _rows_after_the_manifest(patch: pytest.MonkeyPatch) -> None:
    real_put = memory_tables.MemoryTables.put_rows
    real_swap = memory_tables.MemoryTables.swap_manifest
    held: dict[tuple[int, str, int], tuple[Row, ...]] = {}

    async def put(self: Any, key: Any, document: str, since: int, rows: tuple[Row, ...]) -> None:
        held[id(self), document, since] = rows

    async def swap(self: Any, key: Any, write: Write | Mark, since: int) -> memory_tables.Swapped:
        swapped = await real_swap(self, key, write, since)
        rows = held.pop((id(self), write.id, since), ())
        if rows and len(rows) < 2:
            await real_put(self, key, write.id, since, rows)
        return swapped

    patch.setattr(memory_tables.MemoryTables, "put_rows", put)
    patch.setattr(memory_tables.MemoryTables, "swap_manifest", swap)


def _answers_as_they_come(patch: pytest.MonkeyPatch) -> None:
    real = answers.check

    def trusting(answer: Embedded, asked: int, name: str, dimensions: int) -> list[Any]:
        if len(answer.index) == asked:
            answer = msgspec.structs.replace(answer, index=tuple(range(asked)))
        return real(answer, asked, name, dimensions)

    patch.setattr(courier, "check", trusting)


def _dead_letters_are_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory_log._Books, "judge", lambda self, receipt, generation, now_us: None)


def _a_repeat_opens_letters_again(patch: pytest.MonkeyPatch) -> None:
    def moved(state: DeadState, outcome: Outcome) -> DeadState:
        return DeadState.OPEN if outcome is Outcome.DEAD else DeadState.SETTLED

    patch.setattr(memory_log, "moved", moved)


def _letters_wait_for_a_retry(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory_log, "closes", lambda outcome, version, older: False)


def _the_row_follows_the_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Positions, "owed", lambda self: [])
    patch.setattr(Positions, "assuming", lambda self, places: [])


def _receipts_are_dropped(patch: pytest.MonkeyPatch) -> None:
    real = Frontier.settled

    def settled(self: Any, also: Any = ()) -> dict[int, tuple[int, bytes]]:
        # Everything is taken for settled as soon as one change of its partition is.
        if any(entry.settled for partition in self._partitions.values() for entry in partition.entries.values()):
            also = [Place(n, e.offset) for n, p in self._partitions.items() for e in p.entries.values()]
        return real(self, also)

    patch.setattr(Frontier, "settled", settled)


SAFEGUARDS = (
    Safeguard("a write is compared with the manifest it was planned against", "G4", _admit_any_base),
    Safeguard("an older version is refused", "G2", _admit_any_version),
    Safeguard("the fence outlives the rows", "G3", _fence_is_forgotten),
    Safeguard("only the contiguous prefix is committed", "G1", _commit_what_was_read),
    Safeguard("one settled change does not settle those before it", "G1", _receipts_are_dropped),
    Safeguard("after a poison the next older change is taken up", "G1", _poison_takes_the_older_along),
    Safeguard("`unchanged` moves the manifest", "G1", _unchanged_writes_nothing),
    Safeguard("`filtered` is a removal", "G1", _filtered_is_skipped),
    Safeguard("a repeat writes the delete's receipt again", "G3", _a_repeat_is_only_stale),
    Safeguard("what met a conflict is planned again", "G1", _a_conflict_is_taken_for_done),
    Safeguard("readers drop what no manifest names", "G4", _readers_trust_the_rows),
    Safeguard("rows are removed after the manifest is won", "G4", _removal_before_the_manifest_is_won),
    Safeguard("a removal is bounded by the age of the rows", "G4", _removal_without_a_bound, 101),
    Safeguard("rows are there before the manifest names them", "G4", _rows_after_the_manifest),
    Safeguard("a text is blamed only while a probe passes", "G7", blame_without_a_probe),
    Safeguard("an answer is brought into the order asked", "G6", _answers_as_they_come),
    Safeguard("a dead letter is kept with the commit", "G1", _dead_letters_are_dropped),
    Safeguard("a discarded dead letter stays discarded", "G7", _a_repeat_opens_letters_again, 432),
    Safeguard("a newer version closes the letters of older ones", "G7", _letters_wait_for_a_retry),
    Safeguard("the index's own row never falls behind the commit", "G12", _the_row_follows_the_commit),
)
