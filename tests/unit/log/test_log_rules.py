"""The pure rules that all logs share."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.log.rules import FRESH, closes, partition_of, take_turns
from headwater.model.change import Record
from headwater.model.manifest import Outcome
from headwater.model.version import Version

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


@pytest.mark.parametrize(
    ("case", "version", "older", "closes_it"),
    [
        ("behind it in its partition", Version(1, 0, 2, 9), Version(1, 0, 2, 8), True),
        ("its own", Version(1, 0, 2, 9), Version(1, 0, 2, 9), False),
        ("before it", Version(1, 0, 2, 8), Version(1, 0, 2, 9), False),
        ("of a later log epoch, wherever it lies", Version(2, 0, 0, 1), Version(1, 0, 2, 9), True),
        ("of an earlier log epoch", Version(1, 9, 2, 9), Version(2, 1, 2, 1), False),
        ("later by the source's order, in another partition", Version(1, 7, 0, 1), Version(1, 6, 2, 9), True),
        ("earlier by the source's order", Version(1, 5, 2, 9), Version(1, 6, 2, 1), False),
        ("of the same order, behind it", Version(1, 6, 2, 9), Version(1, 6, 2, 8), True),
        ("of the same order in another partition: nothing tells", Version(1, 6, 3, 9), Version(1, 6, 2, 8), False),
        ("no order, in another partition: nothing tells", Version(1, 0, 3, 9), Version(1, 0, 2, 8), False),
        ("a record that cannot be read may be the newer one", Version(1, 6, 2, 9), Version(1, 0, 2, 8), False),
        ("a delete marker without an order", Version(1, 0, 2, 9), Version(1, 6, 2, 8), False),
    ],
)
def test_which_version_closes_the_letter_of_an_older_one(
    case: str, version: Version, older: Version, *, closes_it: bool
) -> None:
    for outcome in Outcome:
        assert closes(outcome, version, older) is (closes_it and outcome in FRESH), (case, outcome)
