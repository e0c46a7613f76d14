"""Usage adds up, and takes apart again, in every part of it."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headwater.model.receipt import Usage

PARTS = len(Usage.__struct_fields__)
USAGES = st.builds(Usage, *(st.integers(0, 1 << 40) for _ in range(PARTS)))


@given(USAGES, USAGES)
def test_every_part_is_added_and_taken_away(one: Usage, other: Usage) -> None:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    assert msgspec.structs.astuple(one + other) == tuple(left + right for left, right in pairs)
    assert one + other - other == one
