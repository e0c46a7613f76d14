"""The pure rules that all logs share."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from headwater.log.rules import partition_of, take_turns
from headwater.model.change import Record

LOGS = st.lists(st.lists(st.integers(0, 300), max_size=12), min_size=1, max_size=4)


def test_partitions_never_change() -> None:
    assert [partition_of(key, 7) for key in (b"", b"a", b"doc-1", b"\xff")] == [0, 4, 6, 3]


@given(LOGS, st.integers(1, 20), st.integers(1, 2000))
def test_turns(sizes: list[list[int]], max_records: int, max_bytes: int) -> None:
    logs = [[Record(p, at, b"", b"x" * size, 0) for at, size in enumerate(some)] for p, some in enumerate(sizes)]

    def fetch(partition: int, limit: int) -> Iterable[Record]:
        return logs[partition][:limit]

    taken = take_turns(range(len(logs)), fetch, max_records, max_bytes)
    assert len(taken) <= max_records
    assert len(taken) == 1 or sum(record.size_bytes for record in taken) <= max_bytes
    assert bool(taken) == any(logs)
    counts = [0] * len(logs)
    for record in taken:
        assert record.offset == counts[record.partition]
        counts[record.partition] += 1
    # Nobody is cut short while another gets more than an even share of the records, as long as bytes are no matter.
    if max_bytes == 2000 and all(size == 0 for some in sizes for size in some) and max_records >= len(logs):
        for count, log in zip(counts, logs, strict=True):
            assert count >= min(len(log), max_records // len(logs))
