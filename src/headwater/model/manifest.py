"""Manifests: what an index generation holds about a document, and the writes that replace one by another."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from headwater.model.version import Place, Version


class State(StrEnum):
    """What readers see of the document. DELETED and FILTERED make the manifest a fence.

    ABSENT: nothing of the document was ever applied; the manifest only carries a revision, and perhaps a cap.
    """

    LIVE = "live"
    DELETED = "deleted"
    FILTERED = "filtered"
    ABSENT = "absent"

    @property
    def fence(self) -> bool:
        """Whether it keeps older writes out and shows nothing."""
        return self in (State.DELETED, State.FILTERED)


class Cause(StrEnum):
    """Why a manifest was written."""

    CHANGE = "change"
    POLICY = "policy"
    SWEEP = "sweep"
    RETENTION = "retention"
    REPAIR = "repair"
    TAKE_OVER = "take-over"


class Outcome(StrEnum):
    """What became of a change in one index generation."""

    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    PAYLOAD_ONLY = "payload-only"
    DELETED = "deleted"
    FILTERED = "filtered"
    SUPERSEDED = "superseded"
    STALE = "stale"
    DEAD = "dead"
    DISCARDED = "discarded"
    TAKEN_OVER = "taken-over"


class ChunkRef(NamedTuple):
    """A chunk's place in its document.

    `digest` is that of the exact text the model was given, `occurrence` counts equal texts in one document from 0.
    The first `skip` characters of that text are what enriching added; the rest is `extracted[start:end]`.
    """

    digest: bytes
    occurrence: int
    start: int
    end: int
    skip: int


class Row(NamedTuple):
    """A chunk's row: the exact text that the model was given, and its vector as little-endian float32."""

    digest: bytes
    occurrence: int
    text: str
    vector: bytes


class Cap(msgspec.Struct, frozen=True, gc=False):
    """A later, dead change narrowed access: what is older and wider than it is not shown."""

    version: Version
    tags: tuple[str, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an index generation holds about a document.

    `revision` is a counter of the index generation that no write ever repeats; 0 until the index has minted it.
    `place` is the record's own place in the log; it differs from the version's only for copies. `outcome` and
    `outcome_us` are those of this version. `body_digest` stands on fences too. `tags` is None where the stream declares
    no access.
    """

    id: str
    version: Version
    place: Place
    recipe: int
    state: State
    outcome: Outcome
    outcome_us: int
    body_digest: bytes
    revision: int = 0
    cause: Cause = Cause.CHANGE
    payload_digest: bytes = b""
    access_digest: bytes = b""
    payload: dict[str, Any] = {}
    tags: tuple[str, ...] | None = None
    cap: Cap | None = None
    chunks: tuple[ChunkRef, ...] = ()

    @property
    def shown(self) -> bool:
        """Whether readers may see it: live, and no later cap is narrower than its tags."""
        if self.state is not State.LIVE:
            return False
        return self.cap is None or (self.tags is not None and set(self.tags) <= set(self.cap.tags))


class Write(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One document's new manifest, with the rows that it names and the index does not hold yet.

    `base` is the revision of the manifest that it was planned against, None where there was none. A removal (its
    manifest is a fence) needs no base, only a later or equal version.
    """

    manifest: Manifest
    base: int | None
    rows: tuple[Row, ...] = ()

    @property
    def id(self) -> str:
        """The document's id."""
        return self.manifest.id


class Mark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A dead change, or the end of one: moves the document's revision and sets its cap to `cap`. Content stays."""

    id: str
    recipe: int
    base: int | None
    cap: Cap | None
    time_us: int


class Verdict(StrEnum):
    """The index's answer to one write."""

    APPLIED = "applied"
    STALE = "stale"
    CONFLICT = "conflict"
    REJECTED = "rejected"


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What became of one write: with the minted revision when applied, with the reason when rejected."""

    verdict: Verdict
    revision: int = 0
    reason: str = ""
