"""Index generations: one full derivation of a stream into one physical index."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from headwater.model.document import Fingerprints


class GenerationState(StrEnum):
    """Where an index generation is in its life. Readers see the serving one."""

    BUILDING = "building"
    SERVING = "serving"
    RETIRED = "retired"


class Position(msgspec.Struct, frozen=True, gc=False):
    """How far one partition is settled in an index generation.

    `offset` is the next one to read; `mark` is that of the change before it (`model.change.mark_of`), so that a
    log that was rewound and grew again is told from the one that the index was built from.
    """

    partition: int
    epoch: int
    offset: int
    mark: bytes = b""


class Seen(msgspec.Struct, frozen=True, gc=False):
    """The furthest place of a partition from which anything was applied, and its change's `model.change.witness_of`.

    It may lie beyond the settled position: removals never wait. So a log that lost it is told from the one that the
    index was built from, although nothing that was settled is missing.
    """

    partition: int
    epoch: int
    offset: int
    witness: bytes


class Floor(msgspec.Struct, frozen=True, gc=False):
    """A write with a version of this log epoch and partition strictly below `offset` is refused for a document without
    a manifest, so that its fence can be collected.
    """

    epoch: int
    partition: int
    offset: int


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """An index generation's row. It is read inside every apply.

    `least_recipe`: the lowest recipe number admitted. `freeze`: the token of the cutover that froze it, if any.
    `incarnation`: an identity minted when the row was made. `log_identity`, `log_epoch`: the log it was built from.
    `purged_revision`: a reader that followed only up to an older revision may have missed collected fences.
    """

    stream: str
    number: int
    state: GenerationState
    recipe: int
    fingerprints: Fingerprints
    model: str
    dimensions: int
    incarnation: str
    log_identity: str
    log_epoch: int
    created_us: int
    least_recipe: int = 1
    freeze: str | None = None
    next_revision: int = 1
    purged_revision: int = 0
    positions: tuple[Position, ...] = ()
    seen: tuple[Seen, ...] = ()
    floors: tuple[Floor, ...] = ()
