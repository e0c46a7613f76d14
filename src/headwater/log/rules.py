"""What every log of ours does alike, as PURE functions: where a key goes, whose turn it is, how a dead letter moves."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from headwater.model.change import Record
from headwater.model.manifest import Outcome
from headwater.model.receipt import DeadState, day_of
from headwater.model.version import Version

#: What a person can do about records that are gone and are needed.
REBUILD = "Build a new index from the log, or restore a newer backup of the index"

#: The outcomes that made a change searchable, or took it away from search: those that freshness is about.
FRESH = frozenset({Outcome.INDEXED, Outcome.UNCHANGED, Outcome.PAYLOAD_ONLY, Outcome.DELETED, Outcome.FILTERED})

#: The states of a dead letter whose change waits for somebody.
WAITING = frozenset({DeadState.OPEN, DeadState.RETRYING})

#: A ledger tells the usage of so many days one by one: those of any calendar month, until well after its end.
DAYS = 62


def first_day(now_us: int) -> int:
    """Return the first of the days whose usage is told one by one."""
    return day_of(now_us) - DAYS + 1


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key. Part of what a log's file means: it never changes."""
    return zlib.crc32(key) % partitions


def moved(state: DeadState, outcome: Outcome) -> DeadState:
    """Return a dead letter's state after a receipt of exactly its version.

    Only a retry that failed opens it again: a repeat of the DEAD receipt after a crash must not bring back a letter
    that a person discarded (C14). Every other outcome means that the change is no longer waiting for anybody.
    """
    if outcome is Outcome.DEAD:
        return DeadState.OPEN if state is DeadState.RETRYING else state
    return DeadState.SETTLED if state in WAITING else state


def closes(outcome: Outcome, version: Version, older: Version) -> bool:
    """Tell whether a receipt closes the dead letter of an older version of its document.

    The index has the newer one, so a retry would find nothing left to do. False where nothing tells which is older: a
    record that cannot be read has no order, and may lie among records that have one.
    """
    if outcome not in FRESH or version.epoch < older.epoch:
        return False
    if version.epoch > older.epoch:
        return True
    if version.order != older.order:
        return 0 < older.order < version.order
    return version.partition == older.partition and version.offset > older.offset


def take_turns(
    partitions: Sequence[int],
    fetch: Callable[[int, int], Iterable[Record]],
    max_records: int,
    max_bytes: int,
) -> list[Record]:
    """Take records from the partitions in turns, so that a full one does not starve the others.

    `fetch(partition, limit)` gives a partition's next records in order. Each round splits the room that is left evenly;
    rounds go on until the room is used up or nobody has more. One record larger than `max_bytes` is taken alone.
    """
    taken: list[Record] = []
    room = max_bytes
    sources = {partition: _Lazy(fetch, partition, max_records) for partition in partitions}
    while sources and len(taken) < max_records:
        share_bytes = max(1, room // len(sources))
        share = max(1, (max_records - len(taken)) // len(sources))
        for partition in list(sources):
            source = sources[partition]
            used = 0
            for _ in range(min(share, max_records - len(taken))):
                record = source.peek()
                if record is None:
                    del sources[partition]
                    break
                size = record.size_bytes
                if taken and size > room:
                    return taken
                if used and used + size > share_bytes:
                    break
                taken.append(source.take())
                used += size
                room -= size
    return taken


class _Lazy:
    """A partition's next records, fetched when first asked for, with a look at the one to come."""

    def __init__(self, fetch: Callable[[int, int], Iterable[Record]], partition: int, limit: int) -> None:
        self._fetch = fetch
        self._partition = partition
        self._limit = limit
        self._records: Iterator[Record] | None = None
        self._head: Record | None = None

    def peek(self) -> Record | None:
        if self._head is None:
            if self._records is None:
                self._records = iter(self._fetch(self._partition, self._limit))
            self._head = next(self._records, None)
        return self._head

    def take(self) -> Record:
        record, self._head = self._head, None
        assert record is not None
        return record
