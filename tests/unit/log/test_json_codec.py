"""The JSON codec: what is a change, what is not, and what must never differ."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import Reject
from headwater.log.codecs.json import MAX_DEPTH, decode, encode, parse_time, render_time, unreadable, upsert
from headwater.model.change import Change, Op, Record, Undecodable, digest, digest_value
from headwater.model.registry import Epoch
from headwater.model.version import Place, Version

EPOCHS = (Epoch(1, "first", 2), Epoch(2, "second", 2, {0: 100}))
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=4)


def record(value: bytes | None, key: bytes = b"a", **more: Any) -> Record:
    return Record(**{"partition": 0, "offset": 5, "key": key, "value": value, "time_us": 77, **more})


def change(fields: dict[str, Any]) -> Change:
    found = decode(record(msgspec.json.encode({"id": "a", **fields})), EPOCHS)
    assert isinstance(found, Change), found
    return found


def reason(value: bytes | dict[str, Any], **more: Any) -> str:
    raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
    found = decode(record(raw, **more), EPOCHS)
    assert isinstance(found, Undecodable)
    assert found.digest == digest(raw)
    return found.reason


def test_an_upsert() -> None:
    line = b'{"id":"a","body":{"text":"hi"},"time":"1970-01-01T00:00:01.5Z"}'
    assert decode(record(line), EPOCHS) == Change(
        id="a",
        op=Op.UPSERT,
        version=Version(1, 0, 0, 5),
        place=Place(0, 5),
        body={"text": "hi"},
        digest=digest(b'{"text":"hi"}'),
        time_us=1_500_000,
        appended_us=77,
        size_bytes=record(line).size_bytes,
    )


@pytest.mark.parametrize("value", [None, b'{"id":"a","op":"delete"}', b'{"op":"delete","body":5}'])
def test_a_delete(value: bytes | None) -> None:
    found = decode(record(value), EPOCHS)
    assert isinstance(found, Change)
    assert (found.op, found.body, found.digest, found.time_us) == (Op.DELETE, None, digest(b""), 77)


@given(TEXT)
def test_text_and_string_body_and_body_with_text_are_the_same(text: str) -> None:
    found = [change({"text": text}), change({"body": text}), change({"body": {"text": text}})]
    assert [it.body for it in found] == [{"text": text}] * 3
    assert len({it.digest for it in found}) == 1


@given(OBJECT, OBJECT)
def test_a_body_keeps_its_own_fields_and_gets_the_others(body: dict[str, Any], metadata: dict[str, Any]) -> None:
    for taken in ("id", "op", "body", "text", "time"):
        metadata.pop(taken, None)
    found = change({**metadata, "body": body})
    expected = msgspec.json.decode(msgspec.json.encode({**metadata, **body}))
    assert found.body == expected
    assert found.digest == digest_value(expected)


@given(OBJECT)
def test_the_order_of_keys_and_the_time_do_not_change_the_digest(body: dict[str, Any]) -> None:
    turned = dict(reversed(body.items()))
    assert change({"body": body}).digest == change({"body": turned, "time": "2020-01-01T00:00:00Z"}).digest


@given(st.binary())
def test_no_record_makes_the_codec_fail(value: bytes) -> None:
    decode(record(value), EPOCHS)
    decode(record(value, key=value), EPOCHS)
    decode(record(b'{"id":"a","text":' + value + b"}"), EPOCHS)
    decode(record(None, headers=(("headwater-version", value),)), EPOCHS)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"text": "x", "op": "merge"}, "`op`"),
        ({"text": "x", "op": None}, "`op`"),
        ({"text": "x", "op": ["upsert"]}, "`op`"),
        ({"text": 5}, "`text` is not a string"),
        ({"text": None}, "`text` is not a string"),
        ({"body": 5}, "`body` is neither"),
        ({"body": None}, "`body` is neither"),
        ({"body": ["x"]}, "`body` is neither"),
        ({"body": {}, "text": "x"}, "both"),
        ({"title": "x"}, "neither `body` nor `text`"),
        ({"id": "b", "text": "x"}, "`id` differs"),
        ({"id": None, "text": "x"}, "`id` differs"),
        ({"text": "x", "time": "yesterday"}, "RFC 3339"),
        ({"text": "x", "time": 5}, "`time` is not a string"),
        ({"op": "delete", "time": ""}, "RFC 3339"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"id":"a","text":"\xff"}', "UTF-8"),
        (b'{"id":"a","text":"\\ud800"}', "lone surrogate"),
        (rb'{"id":"a","text":"\\ud800 \ud83d\ude00}', "not JSON"),
        (b'{"id":"a","text":"x","n":1e999}', "out of range"),
        (b'{"id":"a","text":"x","n":' + b"[" * 100_000, "too deep"),
        (b'{"id":"a","body":' + b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 2), "too deep"),
    ],
)
def test_what_is_no_change(value: bytes | dict[str, Any], part: str) -> None:
    assert part in reason(value)


def test_reasons_hold_no_text_of_the_document() -> None:
    for line in (
        b'{"id":"a","text":"secret',
        b'{"id":"a","text":"secret","secret":1e999}',
        b'{"id":"a","time":"secret"}',
    ):
        assert "secret" not in reason(line)


@pytest.mark.parametrize("key", [b"", b"\xff", b"x" * 1025])
def test_a_key_that_is_no_id(key: bytes) -> None:
    assert isinstance(decode(record(None, key=key), EPOCHS), Undecodable)


def test_shallow_bodies_with_many_brackets_are_fine() -> None:
    assert change({"text": "[" * 1000}).body == {"text": "[" * 1000}
    nested: Any = "x"
    for _ in range(MAX_DEPTH - 2):
        nested = [nested]
    assert change({"body": {"a": nested}, "more": [[]] * 500}).body == {"a": nested, "more": [[]] * 500}


def test_versions() -> None:
    late = decode(record(None, offset=100), EPOCHS)
    copy = decode(record(None, offset=100, headers=(("other", b"x"), ("headwater-version", b"1.7.0.3"))), EPOCHS)
    assert late.version == Version(2, 0, 0, 100)
    assert (copy.version, copy.place) == (Version(1, 7, 0, 3), Place(0, 100))
    assert "headwater-version" in reason({"text": "x"}, headers=(("headwater-version", b"1.2.3"),))


@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_times_survive(time_us: int) -> None:
    assert parse_time(render_time(time_us)) == time_us


def test_times_of_all_kinds() -> None:
    assert parse_time("1970-01-01T01:00:00+01:00") == 0
    assert parse_time("1972-06-30T23:59:60Z") == parse_time("1972-07-01T00:00:00Z")
    assert parse_time("2999-01-01t00:00:00.25z") > 0
    assert render_time(10**20) == "9999-12-31T23:59:59.999999Z"
    for bad in ("2020-01-01T00:00:00", "2020-01-01", "2020-13-01T00:00:00Z", "2020-01-01T00:00:61Z", "1e3"):
        with pytest.raises(Reject):
            parse_time(bad)


@given(OBJECT, st.sampled_from([b"", b" ", b"\r\n"]))
def test_what_publish_encodes_the_worker_decodes(body: dict[str, Any], space: bytes) -> None:
    line = msgspec.json.encode({"id": "é", "body": body})
    out = encode(space + line.replace(b"{", b"{" + space, 1) + space, 123)
    found = decode(record(out.value, key=out.key), EPOCHS)
    assert isinstance(found, Change)
    assert (found.id, found.time_us, found.digest) == ("é", 123, digest_value(msgspec.json.decode(line)["body"]))


def test_a_line_with_its_time_is_kept_as_it_is() -> None:
    line = b'{"id":"a", "time":null,"text":"x"}'
    assert encode(line + b"\r\n", 5).value == line


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b'{"id":5}',
        b'{"id":""}',
        b'{"id":null}',
        b"5",
        b"{",
        b'{"id":"\\udc00"}',
        b'{"id":"a","\\ud800":1}',
        b'{"id":"' + b"x" * 1025 + b'"}',
        b'{"id":"a"} {"id":"b"}',
        b'{"id":"a","n":NaN}',
        b'{"id":"\xed\xa0\x80"}',
    ],
)
def test_what_publish_rejects(line: bytes) -> None:
    with pytest.raises(Reject):
        encode(line, 5)


def test_metadata_goes_beside_the_text() -> None:
    made = upsert("a", "text", 5, {"title": "T", "pages": 3})
    found = decode(record(made.value, made.key), EPOCHS)
    assert isinstance(found, Change)
    assert (found.body, found.time_us) == ({"text": "text", "title": "T", "pages": 3}, 5)


def test_what_cannot_be_read_at_its_source_is_a_dead_letter_from_the_start() -> None:
    made = unreadable("a", "a damaged PDF", 5)
    found = decode(record(made.value, made.key, headers=made.headers), EPOCHS)
    assert isinstance(found, Undecodable)
    assert (found.id, found.reason, found.at_source) == ("a", "a damaged PDF", True)
    # Whoever does not know the header takes it for no change either.
    older = decode(record(made.value, made.key), EPOCHS)
    assert isinstance(older, Undecodable)
    assert not older.at_source
