"""Records of Headwater's own topics that cannot be read: an error with a next step, never a traceback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from headwater.errors import Halt
from headwater.log.kafka_records import (
    Agreed,
    AgreedShares,
    SharesRecord,
    Steps,
    StreamRecord,
    decode_event,
    decode_receipt,
    decode_usage,
    encode_control,
)
from headwater.model.registry import StreamState
from headwater.model.shares import Division


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


def test_shares_and_the_registry_read_past_each_others_records() -> None:
    agreed, shares = Agreed(), AgreedShares()
    for record in (StreamRecord("a", 0, "w", StreamState(serial=1)), SharesRecord("a", "w", Division(tokens=5))):
        agreed.take(encode_control(record))
        shares.take(encode_control(record))
    assert agreed.states == {"a": StreamState(serial=1)}
    assert shares.divisions == {"a": Division(serial=1, tokens=5)}


def test_shares_of_other_kinds_are_ignored_and_torn_ones_are_not() -> None:
    shares = AgreedShares()
    for value in (b"", b"\xff", b"[]", b'{"kind": "tomorrow"}', b'{"kind": "stream", "name": 5}'):
        shares.take(value)
    assert shares.divisions == {}
    with pytest.raises(Halt, match="schema-skew"):
        shares.take(b'{"kind": "shares", "account": 5}')


def test_only_the_first_record_that_builds_on_a_division_wins() -> None:
    shares = AgreedShares()
    for writer, serial in (("one", 0), ("two", 0), ("three", 2), ("four", 1)):
        shares.take(encode_control(SharesRecord("a", writer, Division(serial=serial))))
    assert [shares.won(writer) for writer in ("one", "two", "three", "four")] == [True, False, False, True]
    assert shares.divisions["a"].serial == 2
