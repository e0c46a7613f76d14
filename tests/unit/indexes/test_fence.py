"""The fence's rule, over all small cases: what an index accepts."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import Halt
from headwater.model.fence import admit, succeed
from headwater.model.generation import Floor
from headwater.model.manifest import Cap, Cause, Manifest, Mark, State, Verdict, Write
from headwater.model.version import BEFORE_ALL, Version, compare
from headwater.testing.index_scenario import at, generation, mark, removal, upsert

versions = st.builds(lambda epoch, order, offset: Version(epoch, order, 0, offset), *[st.integers(0, 2)] * 3)
caps = st.none() | st.builds(Cap, versions, st.just(()))
bases = st.none() | st.integers(1, 3)


@st.composite
def writes(draw: st.DrawFn) -> Write:
    cause = draw(st.sampled_from((Cause.CHANGE, Cause.REPAIR)))
    recipe = draw(st.integers(1, 3))
    if draw(st.booleans()):
        state = draw(st.sampled_from((State.DELETED, State.FILTERED)))
        return msgspec.structs.replace(
            removal("d", draw(versions), state, recipe=recipe, cause=cause), base=draw(bases)
        )
    return upsert("d", draw(versions), "A", draw(bases), recipe=recipe, cause=cause)


@st.composite
def stored_ones(draw: st.DrawFn) -> Manifest:
    made = draw(writes()).manifest
    if draw(st.booleans()) and draw(st.booleans()):
        made = succeed(mark("d", None, draw(caps)), None, 1)
    return msgspec.structs.replace(made, revision=draw(st.integers(1, 3)), cap=draw(caps))


@given(writes(), stored_ones())
def test_never_an_older_version(write: Write, stored: Manifest) -> None:
    if admit(write, stored, generation()).verdict is Verdict.APPLIED:
        assert compare(write.manifest.version, stored.version) >= 0


@given(writes(), stored_ones())
def test_only_removals_need_no_base(write: Write, stored: Manifest) -> None:
    if admit(write, stored, generation()).verdict is Verdict.APPLIED and write.base != stored.revision:
        assert write.manifest.state.fence


@given(writes(), stored_ones())
def test_at_an_equal_version_a_removal_wins_and_is_final(write: Write, stored: Manifest) -> None:
    write = msgspec.structs.replace(
        write, manifest=msgspec.structs.replace(write.manifest, version=stored.version), base=stored.revision
    )
    verdict = admit(write, stored, generation()).verdict
    if stored.state is State.ABSENT:
        assert verdict is Verdict.APPLIED
    elif stored.state is State.DELETED:
        assert verdict is Verdict.STALE
    elif write.manifest.state is State.DELETED or write.manifest.cause is Cause.REPAIR:
        assert verdict is Verdict.APPLIED
    else:
        assert (verdict is Verdict.APPLIED) == (write.manifest.recipe > stored.recipe)


@given(writes(), stored_ones())
def test_a_later_version_on_its_base_is_admitted(write: Write, stored: Manifest) -> None:
    if compare(write.manifest.version, stored.version) > 0:
        write = msgspec.structs.replace(write, base=stored.revision)
        assert admit(write, stored, generation()).verdict is Verdict.APPLIED


@given(writes(), stored_ones())
def test_a_repeat_of_what_was_applied_is_not_applied_again(write: Write, stored: Manifest) -> None:
    if admit(write, stored, generation()).verdict is Verdict.APPLIED:
        after = succeed(write, stored, 9)
        again = admit(write, after, generation()).verdict
        assert again in (Verdict.STALE, Verdict.CONFLICT)


@given(stored_ones(), caps, bases)
def test_a_mark_needs_its_base_and_keeps_the_content(stored: Manifest, cap: Cap | None, base: int | None) -> None:
    write = mark("d", base, cap)
    verdict = admit(write, stored, generation()).verdict
    assert verdict is (Verdict.APPLIED if base == stored.revision else Verdict.CONFLICT)
    assert succeed(write, stored, 9) == msgspec.structs.replace(stored, cap=cap, revision=9)


@given(writes(), stored_ones())
def test_a_cap_lasts_until_a_version_that_is_not_older(write: Write, stored: Manifest) -> None:
    after = succeed(write, stored, 9)
    lasts = stored.cap is not None and compare(stored.cap.version, write.manifest.version) > 0
    assert after.cap == (stored.cap if lasts else None)


@pytest.mark.parametrize("stored", [None, succeed(mark("d", None, None), None, 1)])
@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        (at(4), Verdict.STALE),
        (at(5), Verdict.APPLIED),
        (at(4, partition=1), Verdict.APPLIED),
        (at(4, epoch=2), Verdict.APPLIED),
    ],
)
def test_the_floor(stored: Manifest | None, version: Version, verdict: Verdict) -> None:
    floored = generation(floors=(Floor(1, 0, 5),))
    base = stored.revision if stored else None
    if stored is not None and version.epoch == BEFORE_ALL.epoch:
        return
    assert admit(upsert("d", version, "A", base), stored, floored).verdict is verdict
    assert admit(removal("d", version), stored, floored).verdict is verdict


def test_a_floor_says_nothing_of_a_document_that_has_a_manifest() -> None:
    stored = msgspec.structs.replace(upsert("d", at(1), "A", None).manifest, revision=1)
    write = upsert("d", at(2), "B", 1)
    assert admit(write, stored, generation(floors=(Floor(1, 0, 5),))).verdict is Verdict.APPLIED


@pytest.mark.parametrize("write", [upsert("d", at(1), "A", None), removal("d", at(1)), mark("d", None, None)])
def test_frozen_and_old_recipes(write: Write | Mark) -> None:
    for refusing in (generation(freeze="token"), generation(least_recipe=2)):
        answer = admit(write, None, refusing)
        assert answer.verdict is Verdict.REJECTED
        assert answer.reason


def test_no_order_halts() -> None:
    stored = msgspec.structs.replace(upsert("d", at(9, partition=2), "A", None).manifest, revision=1)
    with pytest.raises(Halt, match="identity-collision"):
        admit(removal("d", at(1)), stored, generation())
