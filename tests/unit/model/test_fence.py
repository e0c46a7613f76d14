"""The fence, by the schedules that break without each of its conditions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headwater.errors import Halt
from headwater.model.document import Fingerprints
from headwater.model.fence import FROZEN, admit, succeed
from headwater.model.generation import Floor, Generation, GenerationState
from headwater.model.manifest import Cap, Cause, Manifest, Mark, Outcome, State, Verdict, Write
from headwater.model.version import BEFORE_ALL, Place, Version

GENERATION = Generation(
    stream="s",
    number=1,
    state=GenerationState.SERVING,
    recipe=2,
    fingerprints=Fingerprints("t", "c", "m", "p"),
    model="m",
    dimensions=2,
    incarnation="i",
    log_identity="l",
    log_epoch=1,
    created_us=0,
    least_recipe=2,
)


def manifest(offset: int, state: State = State.LIVE, **values: Any) -> Manifest:
    made = Manifest(
        id="a",
        version=Version(1, 0, 0, offset),
        place=Place(0, offset),
        recipe=2,
        state=state,
        outcome=Outcome.INDEXED,
        outcome_us=0,
        body_digest=b"",
    )
    return msgspec.structs.replace(made, **values)


def judge(new: Manifest | Mark, stored: Manifest | None, base: int | None = None, **row: Any) -> Verdict:
    write = new if isinstance(new, Mark) else Write(manifest=new, base=base)
    return admit(write, stored, msgspec.structs.replace(GENERATION, **row)).verdict


STORED = manifest(5, revision=7)
FENCE = manifest(5, State.DELETED, revision=7)


@pytest.mark.parametrize(
    ("offset", "base", "verdict"),
    [
        (6, 7, Verdict.APPLIED),
        (6, 6, Verdict.CONFLICT),
        (6, None, Verdict.CONFLICT),
        (5, 7, Verdict.STALE),
        (4, 7, Verdict.STALE),
    ],
)
def test_an_upsert_needs_a_later_version_and_its_base(offset: int, base: int | None, verdict: Verdict) -> None:
    assert judge(manifest(offset), STORED, base) is verdict


@pytest.mark.parametrize(("offset", "verdict"), [(6, Verdict.APPLIED), (5, Verdict.APPLIED), (4, Verdict.STALE)])
def test_a_delete_needs_no_base_and_wins_at_an_equal_version(offset: int, verdict: Verdict) -> None:
    assert judge(manifest(offset, State.DELETED), STORED, None) is verdict


def test_only_a_later_version_ends_a_delete() -> None:
    assert judge(manifest(5, recipe=3), FENCE, 7) is Verdict.STALE
    assert judge(manifest(5, cause=Cause.REPAIR), FENCE, 7) is Verdict.STALE
    assert judge(manifest(6), FENCE, 7) is Verdict.APPLIED


def test_a_repair_is_taken_at_an_equal_version_with_its_base() -> None:
    assert judge(manifest(5, cause=Cause.REPAIR), STORED, 7) is Verdict.APPLIED
    assert judge(manifest(5, cause=Cause.REPAIR), STORED, 6) is Verdict.CONFLICT
    assert judge(manifest(4, cause=Cause.REPAIR), STORED, 7) is Verdict.STALE


def test_a_newer_recipe_is_taken_at_an_equal_version() -> None:
    assert judge(manifest(5, recipe=3), STORED, 7) is Verdict.APPLIED


def test_what_is_not_admitted_is_rejected() -> None:
    assert judge(manifest(6, recipe=1), STORED, 7) is Verdict.REJECTED
    frozen = admit(Write(manifest=manifest(6), base=7), STORED, msgspec.structs.replace(GENERATION, freeze="t"))
    assert (frozen.verdict, frozen.reason) == (Verdict.REJECTED, FROZEN)


def test_the_floor_keeps_out_what_a_collected_fence_kept_out() -> None:
    floors = (Floor(1, 0, 5),)
    assert judge(manifest(4), None, None, floors=floors) is Verdict.STALE
    assert judge(manifest(5), None, None, floors=floors) is Verdict.APPLIED  # C15
    assert judge(manifest(4), manifest(3, revision=7), 7, floors=floors) is Verdict.APPLIED
    absent = manifest(0, State.ABSENT, revision=7, version=BEFORE_ALL)
    assert judge(manifest(4), absent, 7, floors=floors) is Verdict.STALE
    assert judge(manifest(4), None, None, floors=(Floor(2, 0, 5), Floor(1, 1, 5))) is Verdict.APPLIED


def test_a_mark_needs_its_base_and_moves_the_revision() -> None:
    mark = Mark(id="a", recipe=2, base=7, cap=None, time_us=3)
    assert judge(mark, STORED) is Verdict.APPLIED
    assert judge(mark, None) is Verdict.CONFLICT
    assert succeed(mark, STORED, 9) == msgspec.structs.replace(STORED, revision=9)
    absent = succeed(mark, None, 9)
    assert (absent.state, absent.revision, absent.version) == (State.ABSENT, 9, BEFORE_ALL)


def test_a_cap_lasts_until_a_version_that_is_not_older() -> None:
    cap = Cap(Version(1, 0, 0, 6), ())
    stored = msgspec.structs.replace(STORED, cap=cap)
    assert succeed(Write(manifest=manifest(5), base=7), stored, 8).cap == cap
    assert succeed(Write(manifest=manifest(6), base=7), stored, 8).cap is None


def test_versions_without_an_order_halt() -> None:
    other = msgspec.structs.replace(manifest(6), version=Version(1, 0, 1, 6))
    with pytest.raises(Halt, match="identity-collision"):
        judge(other, STORED, 7)
