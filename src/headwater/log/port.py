"""The ports of the log: reading for a group, writing, history, what was settled, and the registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from headwater.model.change import Outgoing, Record
from headwater.model.receipt import CaughtUp, DeadLetter, DeadState, Receipt, Settlement, Usage
from headwater.model.registry import StreamState
from headwater.model.version import Version


class Batch(NamedTuple):
    """What one poll brought.

    `assigned` maps a partition that is this reader's from now on to the next offset to read; its records start there,
    even if it was this reader's before. `revoked` partitions are about to become another's: nothing new of them is
    begun, what is done of them may be settled until the next poll, which hands them over. Both are to be obeyed before
    the records. `ends` maps a partition to an offset: the log holds no record between the last one that was handed out
    and there.
    """

    records: Sequence[Record] = ()
    assigned: Mapping[int, int] = {}
    revoked: frozenset[int] = frozenset()
    ends: Mapping[int, int] = {}


class LogReader(Protocol):
    """One worker's share of a stream, for one group. Offsets are committed by `settle` alone.

    Within a partition records come in the order of their offsets; offsets may have gaps; after an assignment records
    may come again.
    """

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        """Return what is there, at most so much (one larger record alone is allowed), waiting up to `wait_s` for the
        first. With `max_records` 0 only news of the assignment comes.

        Whoever has no room for records polls all the same: a reader that does not poll keeps others from their share.
        Raise Retry when the log is away, Halt("log-truncation-gap") when it no longer holds what comes next. The same
        records do not come again until an assignment.
        """
        ...

    async def settle(self, settlement: Settlement) -> None:
        """Write receipts, dead letters of DEAD receipts, and offsets, in one transaction, durably.

        Idempotent: a receipt with a known key is not written again, an offset never goes back, and a dead letter that
        exists keeps its state, except that RETRYING becomes OPEN again for DEAD, and OPEN and RETRYING become SETTLED
        for every other outcome of its version, and when a newer version of its document is in the index (`closes`). Of
        a compacted log, `caught` is kept with the committed offsets, also
        where they stay where they are. A frontier beyond what the log no longer holds goes over that gap: it is the
        engine's to judge. Raise Lost when a partition of the frontier is another worker's now
        (then nothing was written), Retry when the log is away (then it may or may not have been).
        """
        ...

    async def close(self) -> None:
        """Leave the group. Settles nothing. Idempotent."""
        ...


#: The value of an entry about which the log may hold something else than the source: it has to be looked at again.
DOUBTFUL = b""


class SourcePosition(msgspec.Struct, frozen=True):
    """A step of a source's position, which moves with the changes or not at all.

    `serial` is the position that the step builds on. `entries` are the keys that it sets, or removes (None).
    """

    source: str
    serial: int
    entries: Mapping[bytes, bytes | None]


class LogWriter(Protocol):
    """Appends to one stream. Any number of writers may work beside each other."""

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        """Append all or none, in order, durably before it returns, each to the partition of its key.

        Raise Halt("snapshot-race") when `position.serial` is no longer the stored one: another instance of the source
        was here. Raise Reject with the index of a change that the log does not take, being too large: then the others
        may be appended without it. Raise Retry when the log is away or full: then nothing was appended, or (after a
        time-out) all of it.
        """
        ...

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        """Return the source's stored position: its serial (0 when there is none), and its entries."""
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...


class Watermarks(NamedTuple):
    """A partition's bounds: the first offset that is kept, the next to be written, and the group's committed one.

    `caught` is what was settled with that one about how current it is; None where nothing was.
    """

    low: int
    high: int
    committed: int
    caught: CaughtUp | None = None


class LogHistory(Protocol):
    """Reads a stream without a group."""

    async def identity(self) -> str:
        """Return the log's identity: minted when the log was made, never used again."""
        ...

    async def watermarks(self) -> dict[int, Watermarks]:
        """Return every partition's bounds; committed is that of the stream's own group, the low one if it has none."""
        ...

    async def marker_life_s(self) -> float | None:
        """Return how long the log keeps the delete markers of a compacted stream; None where it keeps every change."""
        ...

    def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        """Yield the records with start <= offset < end that the log holds, in order. Memory stays bounded.

        Raise Halt("log-truncation-gap") when the log is trimmed past the reading meanwhile.
        """
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...


class Totals(msgspec.Struct, frozen=True):
    """Sums over all that was settled of one stream: receipts by outcome, and what the model was asked for.

    `daily` has the usage of each of the last days (`rules.DAYS`), by the day on which it was settled: days are counted
    from the Unix epoch, and are those of UTC. A day without usage may be missing.
    """

    outcomes: dict[str, int]
    usage: Usage
    daily: Mapping[int, Usage] = {}


class Ledger(Protocol):
    """What was settled: receipts and dead letters of one stream and one index generation."""

    async def receipts(self, document: str) -> list[Receipt]:
        """Return a document's receipts in the order in which they were written."""
        ...

    async def freshness(self, last: int) -> list[tuple[int, int]]:
        """Return (changed_us, applied_us) of the `last` newest receipts that made a change searchable."""
        ...

    async def totals(self) -> Totals:
        """Return the sums. Whoever asks the same ledger again pays for no more than what came since."""
        ...

    async def dead(self, states: frozenset[DeadState]) -> list[DeadLetter]:
        """Return the dead letters in these states, the oldest version first."""
        ...

    async def move(self, document: str, version: Version, expected: DeadState, state: DeadState) -> bool:
        """Move a dead letter by compare-and-set; tell whether it was in `expected`. Durable."""
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...


class Registry(Protocol):
    """What all workers of a stream agree on. The first write whose expected state holds wins (schedule C10)."""

    async def read(self, stream: str) -> StreamState:
        """Return the stream's state; its serial is 0 before the first advance."""
        ...

    async def advance(self, stream: str, state: StreamState) -> bool:
        """Store `state` with serial + 1 if the stored serial is still `state.serial`; tell whether it was. Durable."""
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...
