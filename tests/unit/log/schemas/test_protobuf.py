"""Protobuf: what others' serializers write comes back as plain values; hostile payloads are rejected."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Reject
from headwater.log.codecs import protobuf
from tests.unit.log.schemas.protos import ARTICLE, files, messages

FIRST = b"\x00"
ARTICLE_PATH = b"\x02\x02"  # one step: the message number 1


@functools.cache
def compiled() -> list[bytes]:
    return files(ARTICLE)


@functools.cache
def decode() -> Callable[[bytes, bytes | None], object]:
    return protobuf.decoder(compiled())


def article(**fields: Any) -> Any:
    return messages(compiled())["news.Article"](**fields)


def read(message: Any) -> Any:
    return decode()(ARTICLE_PATH + message.SerializeToString(), None)


def test_fields_without_presence_are_always_there_and_others_when_set() -> None:
    assert read(article()) == {
        "id": "",
        "kind": "NEWS",
        "tags": [],
        "by_page": {},
        "raw": "",
        "score": 0.0,
        "big": 0,
        "live": False,
        "flags": {},
    }


def test_every_kind_of_field_becomes_a_plain_value() -> None:
    message = article(
        id="a", subtitle="", kind=1, tags=["x", "y"], raw=b"\xff", score=float("inf"), big=2**60, live=True, plz=8000
    )
    message.by_page[10].text = "ten"
    message.by_page[9].text = "nine"
    message.flags[True] = b"1"
    message.at.seconds, message.at.nanos = 1_700_000_000, 5_000_000
    message.took.seconds, message.took.nanos = -1, -500_000_000
    message.more.update({"b": [1, None, "x", {"c": True}], "a": 1.5})
    message.views.value = 7
    message.packed.type_url, message.packed.value = "example/T", b"\x01"
    message.mask.paths.extend(["a.b", "c"])
    message.price.currency_code, message.price.units = "CHF", 3
    message.body.parts.add(text="inner")
    value = read(message)
    assert value == {
        "id": "a",
        "subtitle": "",
        "kind": "BLOG",
        "tags": ["x", "y"],
        "by_page": {"9": {"text": "nine", "parts": []}, "10": {"text": "ten", "parts": []}},
        "at": "2023-11-14T22:13:20.005000Z",
        "took": "-1.5s",
        "more": {"a": 1.5, "b": [1.0, None, "x", {"c": True}]},
        "views": 7,
        "packed": {"@type": "example/T", "value": "AQ=="},
        "mask": "a.b,c",
        "price": {"currency_code": "CHF", "units": 3, "nanos": 0},
        "raw": "/w==",
        "score": "Infinity",
        "big": 2**60,
        "live": True,
        "plz": 8000,
        "body": {"text": "", "parts": [{"text": "inner", "parts": []}]},
        "flags": {"true": "MQ=="},
    }
    assert list(value["by_page"]) == ["9", "10"], "maps come in the order of their keys, whoever wrote them"


def test_a_symbol_that_the_schema_does_not_know_is_its_number() -> None:
    assert read(article(kind=77))["kind"] == 77


@pytest.mark.parametrize(
    ("path", "expected"),
    [(FIRST, {"nothing": "x"}), (b"\x02\x00", {"nothing": "x"}), (b"\x04\x02\x00", {"text": "x", "parts": []})],
)
def test_the_path_names_the_message(path: bytes, expected: object) -> None:
    payload = b"\x0a\x01x"
    assert decode()(path + payload, None) == expected
    assert decode()(payload, path) == expected


@pytest.mark.parametrize(
    ("payload", "header", "reason"),
    [
        (b"", None, "middle of its message's path"),
        (b"\x04\x02", None, "middle of its message's path"),
        (b"\x01", None, "path is too long"),
        (b"\xfe\xff\x03", None, "path is too long"),
        (b"\xff" * 20, None, "no small numbers"),
        (b"\x02\x64", None, "a message that the schema does not have"),
        (b"\x02\x01", None, "a message that the schema does not have"),
        (b"\x04\x00\x00", None, "a message that the schema does not have"),
        (b"\x00\x0a\x05x", None, "no such message"),
        (b"\x00\x0a\x02\xff\xfe", None, "no such message"),
        (b"\x0a\x01x", b"\x00\x00", "bytes follow the message's path"),
    ],
)
def test_what_does_not_match_is_rejected(payload: bytes, header: bytes | None, reason: str) -> None:
    with pytest.raises(Reject, match=reason):
        decode()(payload, header)


def test_a_payload_nested_without_end_is_rejected() -> None:
    payload = b""
    for _ in range(2000):
        size = len(payload)
        varint = bytearray()
        while size > 127:
            varint.append(size & 127 | 128)
            size >>= 7
        payload = b"\x12" + bytes([*varint, size]) + payload
    with pytest.raises(Reject, match="no such message"):
        decode()(b"\x04\x02\x00" + payload, None)


@pytest.mark.parametrize("field", ["at", "took"])
def test_a_moment_far_outside_of_all_calendars(field: str) -> None:
    message = article()
    getattr(message, field).seconds = 2**62
    if field == "took":
        assert read(message)["took"] == f"{2**62}s"
    else:
        with pytest.raises(Reject, match="years"):
            read(message)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_value_or_rejected(payload: bytes) -> None:
    try:
        value = decode()(ARTICLE_PATH + payload, None)
    except Reject:
        return
    json.dumps(value, allow_nan=False)


def test_files_that_do_not_fit_together_are_rejected() -> None:
    for broken in ([], [b"\xff"], compiled()[-1:]):
        with pytest.raises(Reject):
            protobuf.decoder(broken)
