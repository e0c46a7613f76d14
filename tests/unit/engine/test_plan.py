"""What to do about a change, given what the index holds: every decision."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.engine.plan import Derive, Ready, Repeat, Stale, draft, finish, is_removal, plan
from headwater.errors import Halt
from headwater.model.change import Change, Op, digest
from headwater.model.document import Derived, Piece
from headwater.model.manifest import Cap, Cause, Manifest, Outcome, State
from headwater.model.receipt import Counts
from headwater.model.version import BEFORE_ALL, Place, Version

NOW = 99


def change(offset: int, text: str | None = "x", **values: Any) -> Change:
    made = Change(
        id="a",
        op=Op.UPSERT if text is not None else Op.DELETE,
        version=Version(1, 0, 0, offset),
        place=Place(0, offset),
        body=None if text is None else {"text": text},
        digest=digest(text or ""),
        time_us=0,
        appended_us=0,
        size_bytes=1,
    )
    return msgspec.structs.replace(made, **values)


def derived(*texts: str, payload: dict[str, Any] | None = None) -> Derived:
    pieces, at = [], 0
    for text in texts:
        pieces.append(Piece(text, 0, at, at + len(text)))
        at += len(text)
    return Derived(tuple(pieces), payload or {})


def held(offset: int, text: str = "x", *texts: str, **values: Any) -> Manifest:
    made = draft(change(offset, text), None, derived(*texts), 1, 5).manifest
    return msgspec.structs.replace(made, revision=7, **values)


def fence(offset: int, state: State, text: str = "") -> Manifest:
    return held(offset, text, state=state, outcome=Outcome.DELETED)


def decide(it: Change, stored: Manifest | None, *, recipe: int = 1, passes: bool = True) -> Any:
    return plan(it, stored, recipe, NOW, passes=passes)


def test_nothing_is_there() -> None:
    assert decide(change(1), None) == Derive(None)
    absent = held(0, version=BEFORE_ALL, state=State.ABSENT)
    assert decide(change(1), absent) == Derive(absent)


def test_the_index_is_newer() -> None:
    for stored in (held(5), fence(5, State.DELETED), fence(5, State.FILTERED)):
        for it in (change(4), change(4, None)):
            assert decide(it, stored) == Stale(stored)
            assert decide(it, stored, passes=False) == Stale(stored)


def test_the_repeat_after_a_crash() -> None:
    for stored, it in (
        (held(5), change(5)),
        (fence(5, State.DELETED), change(5, None)),
        (fence(5, State.FILTERED, "x"), change(5)),
        (held(5, recipe=3), change(5)),
    ):
        assert decide(it, stored) == Repeat(stored)
    assert decide(change(5, None), fence(5, State.DELETED), recipe=2) == Repeat(fence(5, State.DELETED))


def test_a_newer_recipe_looks_again_at_an_equal_version() -> None:
    assert decide(change(5), held(5), recipe=2) == Derive(held(5))
    assert isinstance(decide(change(5), held(5), recipe=2, passes=False), Ready)


@pytest.mark.parametrize("stored", [held(5, "y"), fence(5, State.DELETED), fence(5, State.FILTERED, "y")])
def test_an_equal_version_with_another_body_halts(stored: Manifest) -> None:
    with pytest.raises(Halt, match="log-rewind"):
        decide(change(5), stored)


def test_versions_without_an_order_halt() -> None:
    with pytest.raises(Halt, match="identity-collision"):
        decide(change(6, version=Version(1, 0, 1, 6)), held(5))


@pytest.mark.parametrize("stored", [None, held(5, "x", "one", "two"), fence(5, State.FILTERED)])
@pytest.mark.parametrize(("text", "passes"), [(None, True), ("x", False)])
def test_removals_need_no_embedding_and_name_nothing(stored: Manifest | None, text: str | None, passes: bool) -> None:
    decision = decide(change(6, text), stored, passes=passes)
    assert isinstance(decision, Ready)
    manifest = decision.write.manifest
    state = State.DELETED if text is None else State.FILTERED
    assert (manifest.state, manifest.outcome) == (state, Outcome(state))
    assert (manifest.version, manifest.outcome_us) == (Version(1, 0, 0, 6), NOW)
    assert manifest.body_digest == digest(text or "")  # on fences too
    assert (manifest.chunks, manifest.payload, decision.write.rows) == ((), {}, ())
    assert decision.write.base == (stored.revision if stored else None)
    assert decision.counts == Counts(removed=len(stored.chunks) if stored else 0)
    assert is_removal(change(6, text), passes=passes)


def test_the_same_body_only_moves_the_version() -> None:
    stored = held(5, "x", "one", "two", cause=Cause.REPAIR, cap=Cap(Version(1, 0, 0, 9), ()))
    decision = decide(change(6), stored)
    assert isinstance(decision, Ready)
    manifest = decision.write.manifest
    assert (manifest.version, manifest.place, manifest.outcome) == (Version(1, 0, 0, 6), Place(0, 6), Outcome.UNCHANGED)
    assert (manifest.chunks, manifest.payload_digest) == (stored.chunks, stored.payload_digest)
    assert manifest.cause is Cause.CHANGE  # not what the version before it was written for
    assert (decision.write.base, decision.write.rows) == (7, ())
    assert decision.counts == Counts(chunks=2, kept=2)


@pytest.mark.parametrize("stored", [held(5, "y"), fence(5, State.DELETED), fence(5, State.FILTERED, "x")])
def test_another_body_or_a_fence_is_derived(stored: Manifest) -> None:
    assert decide(change(6), stored) == Derive(stored)


def test_another_recipe_is_derived() -> None:
    assert decide(change(6), held(5), recipe=2) == Derive(held(5))


def test_a_draft_keeps_what_is_there_and_names_what_it_needs() -> None:
    stored = held(5, "x", "one", "two", "two", "three")
    drafted = draft(change(6, "y"), stored, derived("two", "new", "one"), 1, NOW)
    assert drafted.needs == {(digest("new"), 0): "new"}
    assert (drafted.kept, drafted.removed, drafted.base) == (2, 2, 7)
    assert drafted.manifest.outcome is Outcome.INDEXED
    write = finish(drafted, {digest("new"): b"v"})
    assert [(row.digest, row.text, row.vector) for row in write.rows] == [(digest("new"), "new", b"v")]


@pytest.mark.parametrize(
    ("stored", "made", "outcome"),
    [
        (None, derived("one"), Outcome.INDEXED),
        (held(5, "x", "one"), derived("one"), Outcome.UNCHANGED),
        (held(5, "x", "one"), derived("one", payload={"a": 1}), Outcome.PAYLOAD_ONLY),
        (held(5, "x", "one", "two"), derived("two", "one"), Outcome.INDEXED),
        (held(5, "x", "one", "two"), derived("one"), Outcome.INDEXED),
        (held(5, "x", "one"), derived("one", "one"), Outcome.INDEXED),
        (held(5, "x"), derived(), Outcome.UNCHANGED),
    ],
)
def test_the_outcome_of_a_draft(stored: Manifest | None, made: Derived, outcome: Outcome) -> None:
    assert draft(change(6, "y"), stored, made, 1, NOW).manifest.outcome is outcome


def test_what_a_fence_once_named_is_gone() -> None:
    stored = msgspec.structs.replace(held(5, "x", "one"), state=State.DELETED)
    drafted = draft(change(6), stored, derived("one"), 1, NOW)
    assert (len(drafted.needs), drafted.kept, drafted.manifest.outcome) == (1, 0, Outcome.INDEXED)


TEXTS = st.lists(st.sampled_from(["one", "two", "three"]), max_size=6)


@given(TEXTS, TEXTS)
def test_every_named_row_is_kept_or_brought_and_nothing_is_named_twice(before: list[str], after: list[str]) -> None:
    stored = held(5, "x", *before)
    drafted = draft(change(6, "y"), stored, derived(*after), 1, NOW)
    names = [(chunk.digest, chunk.occurrence) for chunk in drafted.manifest.chunks]
    there = {(chunk.digest, chunk.occurrence) for chunk in stored.chunks}
    assert len(set(names)) == len(names) == len(after)
    assert set(names) == (there & set(names)) | drafted.needs.keys()
    assert not there & drafted.needs.keys()
    assert drafted.kept == len(there & set(names))
    assert drafted.removed == len(there - set(names))
    write = finish(drafted, {digest(text): text.encode() for text in after})
    assert [row.text for row in write.rows] == [row.vector.decode() for row in write.rows]
