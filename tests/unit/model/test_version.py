"""Versions: one strict order where there is one, and a halt where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import Halt
from headwater.model.version import BEFORE_ALL, Version, compare, newer

SMALL = st.integers(0, 2)
VERSIONS = st.builds(Version, st.integers(1, 3), SMALL, st.integers(0, 1), SMALL)
SAME_PARTITION = st.builds(Version, st.integers(1, 3), SMALL, st.just(0), SMALL)


@given(SAME_PARTITION, SAME_PARTITION, SAME_PARTITION)
def test_within_one_partition_it_is_a_strict_order(a: Version, b: Version, c: Version) -> None:
    assert compare(a, b) == -compare(b, a)
    assert (compare(a, b) == 0) == (a == b)
    assert newer(a, b) == (compare(a, b) == 1)
    if newer(a, b) and newer(b, c):
        assert newer(a, c)


@given(VERSIONS, VERSIONS)
def test_two_partitions_are_compared_by_epoch_and_order_or_not_at_all(a: Version, b: Version) -> None:
    if (a.epoch, a.order) == (b.epoch, b.order) and a.partition != b.partition:
        with pytest.raises(Halt, match="identity-collision"):
            compare(a, b)
    elif (a.epoch, a.order) != (b.epoch, b.order):
        assert compare(a, b) == (1 if (a.epoch, a.order) > (b.epoch, b.order) else -1)


@given(VERSIONS)
def test_before_all_is_older_than_every_change(version: Version) -> None:
    assert newer(version, BEFORE_ALL)


@given(VERSIONS)
def test_text_and_back(version: Version) -> None:
    assert Version.parse(str(version)) == version


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.4.5", "1.2.3.x"])
def test_anything_else_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Version.parse(text)
