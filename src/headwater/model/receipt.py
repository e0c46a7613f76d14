"""Receipts, dead letters and settlements: what is written down about a change when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from headwater.model.manifest import Cause, Outcome
from headwater.model.version import Place, Version


class Counts(msgspec.Struct, frozen=True, gc=False):
    """What one change cost: chunks of the document, and where their vectors came from."""

    chunks: int = 0
    kept: int = 0
    reused: int = 0
    embedded: int = 0
    removed: int = 0
    tokens: int = 0


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of one change in one index generation. Keyed by (version, recipe, revision).

    `overtaken_by` is the version that superseded it, or that the index already held. Times are microseconds since the
    Unix epoch, 0 where the change never came to that hop: changed at its source, appended to the log, read by the
    worker, embedded, applied (a search finds it), settled. `trace` is the one that the change belongs to, or empty.
    """

    document: str
    version: Version
    place: Place
    recipe: int
    outcome: Outcome
    revision: int = 0
    cause: Cause = Cause.CHANGE
    reason: str = ""
    overtaken_by: Version | None = None
    body_digest: bytes = b""
    counts: Counts = Counts()
    changed_us: int = 0
    appended_us: int = 0
    read_us: int = 0
    embedded_us: int = 0
    applied_us: int = 0
    settled_us: int = 0
    trace: str = ""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What the embedding model was asked for: calls, texts and tokens; and vectors that had not to be asked for.

    `replay_tokens` are those of the tokens that the replay lane paid for, `batch_tokens` those that the service's batch
    interface was paid for, at its price; the others are of live changes. What they cost is written nowhere: tokens are
    facts, their price is configuration.
    """

    calls: int = 0
    texts: int = 0
    tokens: int = 0
    reused: int = 0
    replay_tokens: int = 0
    batch_tokens: int = 0

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.calls - other.calls,
            self.texts - other.texts,
            self.tokens - other.tokens,
            self.reused - other.reused,
            self.replay_tokens - other.replay_tokens,
            self.batch_tokens - other.batch_tokens,
        )

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.texts + other.texts,
            self.tokens + other.tokens,
            self.reused + other.reused,
            self.replay_tokens + other.replay_tokens,
            self.batch_tokens + other.batch_tokens,
        )


DAY_US = 86_400_000_000


def day_of(time_us: int) -> int:
    """Return the day of UTC that a time lies in, counted from the Unix epoch. Usage is added up by days."""
    return time_us // DAY_US


class CaughtUp(msgspec.Struct, frozen=True):
    """How current an index is in one partition: at `at_us` all that the partition held lay before `offset`.

    An index that has settled what lies before `offset` lacks only what was written later. Offset 0 is that of an index
    that began with all of the log at `at_us`, and has gone on from there.
    """

    at_us: int
    offset: int


class Settlement(msgspec.Struct, frozen=True):
    """What goes to the log together, in one transaction.

    `frontier` gives a partition's next offset to read: everything before it is settled. A receipt may lie beyond it.
    `caught` says of partitions of the frontier how current they are; a log that keeps every change has no use for it.
    """

    frontier: Mapping[int, int]
    receipts: tuple[Receipt, ...] = ()
    usage: Usage = Usage()
    caught: Mapping[int, CaughtUp] = {}


class DeadState(StrEnum):
    """The life of a dead letter. It moves by compare-and-set only."""

    OPEN = "open"
    RETRYING = "retrying"
    SETTLED = "settled"
    DISCARDED = "discarded"


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A change that cannot be applied by its own fault. Keyed by (index generation, document, version)."""

    generation: int
    document: str
    version: Version
    place: Place
    reason: str
    state: DeadState
    opened_us: int
    attempts: int = 1
