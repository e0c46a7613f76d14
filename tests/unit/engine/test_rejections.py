"""When a stream must pause because too much of it is rejected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.engine.rejections import AT_LEAST, LAST, SHARE, Rejections


def rejections(*runs: tuple[bool, int]) -> Rejections:
    made = Rejections()
    for dead, count in runs:
        for _ in range(count):
            made.note(dead=dead)
    return made


@pytest.mark.parametrize(
    ("runs", "pauses"),
    [
        ([], False),
        ([(True, 19)], False),
        ([(True, 20)], True),
        ([(False, 1979), (True, 20)], True),  # just over 1 % of 1,999
        ([(False, 1980), (True, 20)], False),  # exactly 1 %
        ([(False, 1979), (True, 21)], True),
        ([(True, 21), (False, 1979)], True),
        ([(True, 21), (False, 1980)], False),  # the oldest left the window
    ],
)
def test_at_least_twenty_and_more_than_one_in_a_hundred(runs: list[tuple[bool, int]], pauses: bool) -> None:
    made = rejections(*runs)
    assert (made.too_many is not None) == pauses


def test_it_says_how_many() -> None:
    assert rejections((False, 80), (True, 20)).too_many == "20 of the last 100 changes were rejected"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1500)), max_size=6))
def test_it_is_what_the_rule_says(runs: list[tuple[bool, int]]) -> None:
    window = [dead for dead, count in runs for _ in range(count)][-LAST:]
    expected = sum(window) >= AT_LEAST and sum(window) > SHARE * len(window)
    assert (rejections(*runs).too_many is not None) == expected
