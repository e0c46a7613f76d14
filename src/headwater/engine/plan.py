"""PURE: what to do about a change, given what the index holds about its document.

`plan` decides from the stored manifest alone; `draft` goes on from there with what the recipe made of the body, and
`finish` adds the vectors. Nothing here waits, reads or writes: the decision is a value, `apply` carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headwater.engine.ordering import REWIND_CURE
from headwater.errors import Halt
from headwater.model.change import Change, Op, digest, digest_value
from headwater.model.document import Derived
from headwater.model.manifest import Cause, ChunkRef, Manifest, Outcome, Row, State, Write
from headwater.model.receipt import Counts
from headwater.model.version import compare


class Stale(msgspec.Struct, frozen=True):
    """The index already holds a newer version."""

    by: Manifest


class Repeat(msgspec.Struct, frozen=True):
    """The index holds this very version: the work was done before, and only its receipt may be missing (C11)."""

    manifest: Manifest


class Derive(msgspec.Struct, frozen=True):
    """The recipe has to say what the body becomes."""

    base: Manifest | None


class Ready(msgspec.Struct, frozen=True):
    """A write that needs no embedding."""

    write: Write
    counts: Counts


class Draft(msgspec.Struct, frozen=True):
    """A document's new manifest, and the texts whose vectors it needs: (digest, occurrence) -> text."""

    manifest: Manifest
    base: int | None
    needs: Mapping[tuple[bytes, int], str]
    kept: int
    removed: int


Decision = Stale | Repeat | Derive | Ready


def plan(change: Change, stored: Manifest | None, recipe: int, now_us: int, *, passes: bool) -> Decision:
    """Decide about one change. `passes` is the filter's word. Raise Halt for an equal version with another body."""
    if stored is not None and stored.state is not State.ABSENT:
        order = compare(change.version, stored.version)
        if order < 0:
            return Stale(stored)
        if order == 0:
            if change.digest != stored.body_digest:
                raise Halt("log-rewind", f"version {change.version} is in the index with another body", REWIND_CURE)
            if stored.recipe >= recipe or stored.state is State.DELETED:
                return Repeat(stored)
    if is_removal(change, passes=passes):
        return _removal(change, stored, recipe, now_us)
    if _same_body(change, stored, recipe):
        assert stored is not None
        return _unchanged(change, stored, recipe, now_us)
    return Derive(stored)


def is_removal(change: Change, *, passes: bool) -> bool:
    """Tell whether a change only takes away: it needs no embedding and never waits."""
    return change.op is Op.DELETE or not passes


def _same_body(change: Change, stored: Manifest | None, recipe: int) -> bool:
    return (
        stored is not None
        and stored.state is State.LIVE
        and stored.recipe == recipe
        and stored.body_digest == change.digest
    )


def _removal(change: Change, stored: Manifest | None, recipe: int, now_us: int) -> Ready:
    deleted = change.op is Op.DELETE
    manifest = Manifest(
        id=change.id,
        version=change.version,
        place=change.place,
        recipe=recipe,
        state=State.DELETED if deleted else State.FILTERED,
        outcome=Outcome.DELETED if deleted else Outcome.FILTERED,
        outcome_us=now_us,
        body_digest=change.digest,
    )
    removed = len(stored.chunks) if stored else 0
    return Ready(Write(manifest=manifest, base=stored.revision if stored else None), Counts(removed=removed))


def _unchanged(change: Change, stored: Manifest, recipe: int, now_us: int) -> Ready:
    # The manifest moves to the new version although no row changes: a zombie with an older change must find it (C2).
    manifest = msgspec.structs.replace(
        stored,
        revision=0,
        version=change.version,
        place=change.place,
        recipe=recipe,
        outcome=Outcome.UNCHANGED,
        outcome_us=now_us,
        cause=Cause.CHANGE,
    )
    chunks = len(stored.chunks)
    return Ready(Write(manifest=manifest, base=stored.revision), Counts(chunks=chunks, kept=chunks))


def draft(change: Change, stored: Manifest | None, derived: Derived, recipe: int, now_us: int) -> Draft:
    """Compare what the recipe made with what the index holds: keep the chunks it has, name those it needs."""
    chunks, texts = _refer(derived)
    held = {(ref.digest, ref.occurrence) for ref in stored.chunks} if stored and stored.state is State.LIVE else set()
    needs = {key: text for key, text in texts.items() if key not in held}
    payload_digest = digest_value(derived.payload)
    removed = len(held) - (len(texts) - len(needs))
    manifest = Manifest(
        id=change.id,
        version=change.version,
        place=change.place,
        recipe=recipe,
        state=State.LIVE,
        outcome=_outcome(stored, chunks, payload_digest, rows_change=bool(needs or removed)),
        outcome_us=now_us,
        body_digest=change.digest,
        payload_digest=payload_digest,
        payload=derived.payload,
        chunks=chunks,
    )
    return Draft(manifest, stored.revision if stored else None, needs, len(texts) - len(needs), removed)


def _refer(derived: Derived) -> tuple[tuple[ChunkRef, ...], dict[tuple[bytes, int], str]]:
    refs: list[ChunkRef] = []
    texts: dict[tuple[bytes, int], str] = {}
    seen: dict[bytes, int] = {}
    for piece in derived.pieces:
        key = digest(piece.text)
        occurrence = seen.get(key, 0)
        seen[key] = occurrence + 1
        texts[key, occurrence] = piece.text
        refs.append(ChunkRef(key, occurrence, piece.start, piece.end, piece.skip))
    return tuple(refs), texts


def _outcome(
    stored: Manifest | None, chunks: tuple[ChunkRef, ...], payload_digest: bytes, *, rows_change: bool
) -> Outcome:
    if stored is None or stored.state is not State.LIVE or rows_change:
        return Outcome.INDEXED
    if stored.payload_digest != payload_digest:
        return Outcome.PAYLOAD_ONLY
    return Outcome.UNCHANGED if stored.chunks == chunks else Outcome.INDEXED


def finish(drafted: Draft, vectors: Mapping[bytes, bytes]) -> Write:
    """Add the vectors (by text digest) to a draft. Every one that it needs must be there."""
    rows = tuple(Row(key, occurrence, text, vectors[key]) for (key, occurrence), text in drafted.needs.items())
    return Write(manifest=drafted.manifest, base=drafted.base, rows=rows)
