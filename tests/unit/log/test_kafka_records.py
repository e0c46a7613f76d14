"""Records of Headwater's own topics that cannot be read: an error with a next step, never a traceback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headwater.errors import Halt
from headwater.log.kafka_records import Agreed, Steps, decode_event, decode_receipt, decode_usage


@pytest.mark.parametrize(
    "read",
    [
        lambda value: decode_receipt(value, 1),
        lambda value: decode_usage(value, 1),
        decode_event,
        lambda value: Steps().take(value),
    ],
)
@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"{}", b'{"generation": "one"}'])
def test_what_cannot_be_read_halts_with_a_next_step(read: Callable[[bytes], object], value: bytes) -> None:
    with pytest.raises(Halt, match=r"schema-skew: a record of the topic of .* cannot be read .*restore the topic"):
        read(value)


def test_control_records_of_other_kinds_are_ignored_and_torn_ones_of_ours_are_not() -> None:
    agreed = Agreed()
    for value in (b"", b"\xff", b"[]", b'{"kind": "tomorrow"}'):
        agreed.take(value)
    assert agreed.states == {}
    with pytest.raises(Halt, match="schema-skew"):
        agreed.take(b'{"kind": "stream", "name": 5}')
