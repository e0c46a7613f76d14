"""How texts are packed into calls."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from headwater.embedding.batching import pack


@given(st.lists(st.integers(0, 50)), st.integers(1, 6), st.integers(1, 60))
def test_everything_once_in_order_and_within_the_limits(sizes: list[int], texts: int, characters: int) -> None:
    parts = list(pack(sizes, texts, characters))
    assert [size for part in parts for size in sizes[part]] == sizes
    for part in parts:
        taken = sizes[part]
        assert 1 <= len(taken) <= texts
        assert sum(taken) <= characters or len(taken) == 1
    # No call could have taken the next text too.
    for part, following in itertools.pairwise(parts):
        assert len(sizes[part]) == texts or sum(sizes[part]) + sizes[following.start] > characters


def test_nothing_is_no_call() -> None:
    assert list(pack([], 3, 10)) == []
