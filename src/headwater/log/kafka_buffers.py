"""What a consumer has fetched and the engine has not taken yet: bounded, by partition, taken in turns. PURE."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice

from headwater.log.rules import take_turns
from headwater.model.change import Record

#: What all buffers together hold, and what each of few partitions may hold at most.
BUFFERED_BYTES = 8 << 20


class Buffer:
    """One partition's records. `end` is where the log ended after them, if known."""

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.size_bytes = 0
        self.paused = False
        self.end: int | None = None
        self.next: int = -1
        self.low = 0  # what lies between `next` and here is no longer in the log

    def __repr__(self) -> str:
        return f"Buffer({len(self.records)} records, next {self.next})"

    def add(self, record: Record) -> None:
        """Put a record behind the others."""
        self.records.append(record)
        self.size_bytes += record.size_bytes
        self.end = None


def full(buffers: Mapping[int, Buffer]) -> list[int]:
    """Return the partitions that hold too much and are still fetched."""
    bound = _bound(buffers)
    return [partition for partition, it in buffers.items() if not it.paused and it.size_bytes > bound]


def drained(buffers: Mapping[int, Buffer]) -> list[int]:
    """Return the partitions that are paused and have room again."""
    bound = _bound(buffers)
    return [partition for partition, it in buffers.items() if it.paused and it.size_bytes <= bound // 2]


def _bound(buffers: Mapping[int, Buffer]) -> int:
    return BUFFERED_BYTES // max(1, len(buffers))


def take(
    buffers: Mapping[int, Buffer], turn: int, max_records: int, max_bytes: int
) -> tuple[list[Record], dict[int, int]]:
    """Take records of all partitions in turns, another one first each time, and the ends that lie behind a gap."""
    wanted = sorted(buffers)
    first = turn % len(wanted)

    def fetch(partition: int, limit: int) -> Iterable[Record]:
        return list(islice(buffers[partition].records, limit))

    records = take_turns(wanted[first:] + wanted[:first], fetch, max_records, max_bytes)
    for record in records:
        buffer = buffers[record.partition]
        buffer.records.popleft()
        buffer.size_bytes -= record.size_bytes
        buffer.next = record.offset + 1
    ends = {}
    for partition, buffer in buffers.items():
        if not buffer.records and buffer.end is not None and buffer.end > buffer.next:
            ends[partition] = buffer.next = buffer.end
    return records, ends
