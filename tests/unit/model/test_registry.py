"""Which log epoch a record belongs to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.model.registry import Epoch, epoch_of
from headwater.model.version import Place

FIRST = Epoch(1, "log", 2)
ADDED = Epoch(2, "log", 3, {0: 10, 1: 4, 2: 0})
OTHER = Epoch(3, "other", 3, {0: 0, 1: 0, 2: 0})


@pytest.mark.parametrize(
    ("place", "number"),
    [
        (Place(0, 0), 1),
        (Place(0, 9), 1),
        (Place(0, 10), 2),
        (Place(1, 3), 1),
        (Place(1, 4), 2),
        (Place(2, 0), 2),
        (Place(7, 0), 2),
    ],
)
def test_from_its_boundary_on_a_partition_belongs_to_the_newer_epoch(place: Place, number: int) -> None:
    assert epoch_of((FIRST, ADDED), place) == number


def test_another_log_takes_over_whole() -> None:
    assert epoch_of((FIRST, ADDED, OTHER), Place(0, 0)) == 3


def test_before_the_first_epoch_there_is_none() -> None:
    with pytest.raises(ValueError, match="no log epoch"):
        epoch_of((), Place(0, 0))
    with pytest.raises(ValueError, match="no log epoch"):
        epoch_of((Epoch(1, "log", 1, {0: 5}),), Place(0, 4))


@given(st.lists(st.integers(0, 20), min_size=1, max_size=4), st.integers(0, 25), st.integers(0, 25))
def test_a_later_offset_never_belongs_to_an_older_epoch(bounds: list[int], low: int, more: int) -> None:
    epochs = (FIRST, *(Epoch(2 + i, "log", 1, {0: bound}) for i, bound in enumerate(bounds)))
    assert epoch_of(epochs, Place(0, low)) <= epoch_of(epochs, Place(0, low + more))
