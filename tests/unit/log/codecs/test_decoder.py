"""Plain records of existing topics: ids, texts, orders, times, deletes; and that no record makes the decoder fail."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Reject
from headwater.log.codecs.decoder import decoder
from headwater.log.codecs.fields import id_of_key
from headwater.log.codecs.layout import Layout
from headwater.log.codecs.schemas import SchemaBook
from headwater.model.change import Change, Op, Record, check_id, digest, digest_value
from headwater.model.registry import ANY_EPOCH, Epoch
from headwater.model.version import Version
from tests.unit.log.codecs.reading import APPENDED_US, change, dead, raw, read, record

ROWS = Layout(envelope="none")
MAPPED = Layout(envelope="none", text=("title", "summary.short", "body"))
JSON_KEYS = Layout(envelope="none", key_format="json")
ORDERED = Layout(envelope="none", version="rev")

#: A row as API documentation comes: the package's own names, mostly text.
SERVICE = {
    "service": "s3",
    "operation": "PutObject",
    "title": "PutObject",
    "summary": {"short": "Adds an object to a bucket."},
    "body": "Amazon S3 never adds partial objects.",
    "since": 2006,
    "deprecated": False,
    "tags": ["storage", "object"],
}


def test_a_row() -> None:
    given = record({"text": "hi", "lang": "en"})
    assert read(ROWS, given) == Change(
        id="a",
        op=Op.UPSERT,
        version=Version(1, 0, 0, 5),
        place=given.place,
        body={"text": "hi", "lang": "en"},
        digest=digest(b'{"lang":"en","text":"hi"}'),
        time_us=APPENDED_US,
        appended_us=APPENDED_US,
        size_bytes=given.size_bytes,
    )


def test_mapped_texts() -> None:
    found = change(MAPPED, record(SERVICE))
    assert found.body
    assert found.body["text"] == "PutObject\n\nAdds an object to a bucket.\n\nAmazon S3 never adds partial objects."
    assert {name: it for name, it in found.body.items() if name != "text"} == SERVICE
    assert found.digest == digest_value(found.body)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"title": "T", "summary": {"short": "S"}, "body": "B"}, "T\n\nS\n\nB"),
        ({"title": "T", "body": None}, "T"),
        ({"title": "", "summary": {}, "body": "B"}, "B"),
        ({"title": None}, ""),
        ({"title": 5, "summary": {"short": 1.5}, "body": True}, "5\n\n1.5\n\ntrue"),
        ({"title": "T", "summary.short": "S"}, "T\n\nS"),
        ({"title": "T", "summary": "no object"}, "T"),
        ({"title": "T", "text": "another column"}, "T"),
    ],
)
def test_columns_that_are_empty_or_absent_add_nothing(row: dict[str, Any], text: str) -> None:
    body = change(MAPPED, record(row)).body
    assert body
    assert body["text"] == text


def test_a_renamed_column_never_embeds_an_empty_text() -> None:
    assert "no field `title`, `summary.short`, `body`" in dead(MAPPED, record({"heading": "secret"})).reason
    assert "`title` is an array" in dead(MAPPED, record({"title": ["secret"]})).reason
    assert "`title` is an object" in dead(MAPPED, record({"title": {}})).reason


def test_the_kept_fields() -> None:
    row = {"a": 1, "b": 2, "text": "t", "title": "T"}
    assert change(Layout(envelope="none", body=("a", "z")), record(row)).body == {"a": 1, "text": "t"}
    mapped = Layout(envelope="none", body=("a", "text"), text=("title",))
    assert change(mapped, record(row)).body == {"a": 1, "text": "T"}


def test_values_that_are_texts() -> None:
    layout = Layout(envelope="none", format="text")
    assert change(layout, record("é".encode())).body == {"text": "é"}
    assert change(layout, record(b"")).body == {"text": ""}
    assert change(layout, record(None)).op is Op.DELETE
    assert dead(layout, record(b"\xff")).reason == "not UTF-8"
    gone = Layout(envelope="none", format="text", delete="value == ''")
    assert (change(gone, record(b"")).op, change(gone, record(b"x")).op) == (Op.DELETE, Op.UPSERT)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (b"", "not JSON"),
        (b"secret", "not JSON"),
        (b'{"a":"\xff"}', "UTF-8"),
        (b'{"a":"\\ud800"}', "lone surrogate"),
        ([], "not a JSON object"),
        (b"[" * 100_000, "too deep"),
    ],
)
def test_what_is_no_row(value: object, part: str) -> None:
    found = dead(ROWS, record(value))
    assert part in found.reason
    assert found.id == "a"


# Ids


@pytest.mark.parametrize(
    ("key", "document"),
    [
        ({"id": 1}, "1"),
        ({"id": "p/1"}, "p/1"),
        ({"id": True}, "true"),
        ({"id": 1.5}, "1.5"),
        ({"id": [1, "a"]}, '[1,"a"]'),
        ({"b": 1, "a": "x"}, '{"a":"x","b":1}'),
        ({"a": "x", "b": 1}, '{"a":"x","b":1}'),
        ({"a": "x", "b": None}, '{"a":"x","b":null}'),
        ({"schema": {"type": "struct", "fields": []}, "payload": {"id": 3}}, "3"),
        ({"schema": None, "payload": 3}, "3"),
        ({"schema": "s", "payload": 3}, '{"payload":3,"schema":"s"}'),
        (5, "5"),
        ("p/1", "p/1"),
        (b' "p/1" ', "p/1"),
        (b"18446744073709551616", "18446744073709551616"),
    ],
)
def test_keys_as_json(key: object, document: str) -> None:
    assert change(JSON_KEYS, record({"text": "x"}, key)).id == document
    assert change(JSON_KEYS, record(None, key)).id == document


@pytest.mark.parametrize(
    ("layout", "key", "part"),
    [
        (ROWS, b"", "has no key"),
        (ROWS, b"\xff", "not UTF-8"),
        (ROWS, b"x" * 1025, "1025 bytes"),
        (JSON_KEYS, b"", "the record's key is null"),
        (JSON_KEYS, b"null", "the record's key is null"),
        (JSON_KEYS, {"id": None}, "the record's key is null"),
        (JSON_KEYS, {}, "no columns"),
        (JSON_KEYS, {"id": ""}, "`id` is empty"),
        (JSON_KEYS, b"secret", "the record's key: not JSON"),
        (JSON_KEYS, b'"\\ud800"', "the record's key: "),
        (JSON_KEYS, b"\xff", "the record's key: "),
        (Layout(envelope="none", key_format="json", id="key.id"), {"uid": 1}, "the key's `id` is missing"),
        (Layout(envelope="none", id="value.id"), b"a", "`value.id` is missing"),
    ],
)
def test_records_that_name_no_document(layout: Layout, key: object, part: str) -> None:
    found = dead(layout, record({"text": "x"}, key))
    assert part in found.reason
    assert "secret" not in found.reason
    assert found.id == "record 0.5"


def test_ids_from_a_part_of_the_key_or_from_the_value() -> None:
    part = Layout(envelope="none", key_format="json", id="key.doc.id")
    assert change(part, record({"text": "x"}, {"doc": {"id": 7}, "tenant": 1})).id == "7"
    value = Layout(envelope="none", id="value.id")
    assert change(value, record({"text": "x", "id": "p"}, b"\xff")).id == "p"
    assert "take it from the key" in dead(value, record(None)).reason


KEYS = st.fixed_dictionaries({"a": st.integers(), "b": st.text(st.characters(exclude_categories=["Cs"]))})


@settings(deadline=None)
@given(KEYS, KEYS)
def test_no_two_keys_of_several_columns_become_one_id(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert (id_of_key(left) == id_of_key(right)) == (left == right)
    assert id_of_key(left) == id_of_key(dict(reversed(left.items())))
    assert json.loads(id_of_key(left)) == left


@settings(deadline=None)
@given(st.data())
def test_no_two_keys_of_one_column_become_one_id(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([st.integers(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)]))
    left, right = data.draw(kind), data.draw(kind)
    assert (id_of_key({"id": left}) == id_of_key({"id": right})) == (left == right)


# Order and time


@pytest.mark.parametrize(
    ("value", "order"), [(0, 0), (7, 7), ("7", 7), ("007", 7), (10**18 - 1, 10**18 - 1), ("9" * 18, 10**18 - 1)]
)
def test_orders(value: object, order: int) -> None:
    found = change(ORDERED, record({"text": "x", "rev": value}, offset=9))
    assert found.version == Version(1, order, 0, 9)


@pytest.mark.parametrize("value", [-1, 10**18, "1" * 19, "", "-1", "1.0", "²", "secret", 1.0, True, None, [1], {}])
def test_what_is_no_order(value: object) -> None:
    found = dead(ORDERED, record({"text": "x", "rev": value}))
    assert found.reason.startswith("`version: rev` is")
    assert "secret" not in found.reason
    assert "`version: rev` is missing" in dead(ORDERED, record({"text": "x"})).reason


def test_a_delete_must_carry_its_order_too() -> None:
    assert "nothing orders it" in dead(ORDERED, record(None)).reason
    layout = Layout(envelope="none", version="rev", delete="value.gone")
    found = change(layout, record({"rev": 8, "gone": True}))
    assert (found.op, found.version.order) == (Op.DELETE, 8)
    copy = change(ORDERED, record(None, headers=(("headwater-version", b"1.3.0.2"),)))
    assert (copy.op, copy.version) == (Op.DELETE, Version(1, 3, 0, 2))


def test_what_is_refused_after_its_order_was_read_keeps_it() -> None:
    layout = Layout(envelope="none", version="rev", text=("title",))
    assert dead(layout, record({"rev": 8})).version.order == 8


def test_what_has_no_order_and_may_lie_in_any_partition_becomes_no_document() -> None:
    # Two changes of one document without an order, in two partitions, would halt the stream.
    layout = Layout(envelope="none", id="value.id", version="rev")
    found = [dead(layout, record({"id": "a", "text": "x"}, partition=i)) for i in (0, 1)]
    assert [it.id for it in found] == ["record 0.5", "record 1.5"]
    assert dead(layout, record({"id": "a", "rev": 1, "text": "x"}, headers=(("headwater-version", b"x"),))).id
    refused = Layout(envelope="none", id="value.id", version="rev", text=("title",))
    assert dead(refused, record({"id": "a", "rev": 1})).id == "a"


@pytest.mark.parametrize(
    ("value", "time_us"),
    [
        ("1970-01-01T00:00:01.5Z", 1_500_000),
        (1_700_000_000, 1_700_000_000_000_000),
        (1_700_000_000.25, 1_700_000_000_250_000),
        (1_700_000_000_123, 1_700_000_000_123_000),
        (1_700_000_000_123_456, 1_700_000_000_123_456),
        (1_700_000_000_123_456_789, 1_700_000_000_123_456),
        (-5, -5_000_000),
        (None, APPENDED_US),
    ],
)
def test_times(value: object, time_us: int) -> None:
    layout = Layout(envelope="none", time="meta.at")
    assert change(layout, record({"text": "x", "meta": {"at": value}})).time_us == time_us
    assert change(layout, record({"text": "x"})).time_us == APPENDED_US


@pytest.mark.parametrize("value", ["secret", "2020-01-01", True, [], 10**20, -(10**25)])
def test_what_is_no_time(value: object) -> None:
    found = dead(Layout(envelope="none", time="at"), record({"text": "x", "at": value}))
    assert found.reason.startswith("`time: at` is")
    assert "secret" not in found.reason


# Conditions, headers, schemas


def test_deletes_by_condition() -> None:
    layout = Layout(
        envelope="none",
        key_format="json",
        delete="value.gone == true || key.tenant == 9 || (has(headers.op) && headers.op in ['d', b'\\xff'])",
    )
    row = {"text": "x", "gone": False}
    assert change(layout, record(row, {"tenant": 1})).op is Op.UPSERT
    assert change(layout, record(row, {"tenant": 9})).op is Op.DELETE
    assert change(layout, record({"gone": True}, {"tenant": 1})).op is Op.DELETE
    assert change(layout, record(row, {"tenant": 1}, (("op", b"d"),))).op is Op.DELETE
    assert change(layout, record(row, {"tenant": 1}, (("op", b"\xff"),))).op is Op.DELETE
    assert change(layout, record(row, {"tenant": 1}, (("op", b"d"), ("op", b"u")))).op is Op.UPSERT
    found = dead(layout, record({"text": "secret"}, {"tenant": 1}))
    assert found.reason.startswith("`delete`: the condition needs the field `gone`")
    with pytest.raises(Reject, match="unknown variable `body`"):
        decoder(Layout(envelope="none", delete="body.gone"), None)


class Registered:
    """Gives what it was told, as a book of schemas does."""

    def __init__(self, key: object, value: object) -> None:
        self._key = key
        self._value = value

    def key(self, record: Record) -> object:
        return self._given(self._key)

    def value(self, record: Record) -> object:
        return self._given(self._value)

    def _given(self, value: object) -> object:
        if isinstance(value, Reject):
            raise value
        return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize("form", ["avro", "json-schema", "protobuf"])
def test_records_written_with_a_registry(form: Any) -> None:
    layout = Layout(envelope="none", format=form, key_format=form)
    given = record(b"\0\0\0\0\1v", b"\0\0\0\0\1k")
    assert change(layout, given, Registered({"id": 4}, {"text": "x"})).id == "4"
    away = dead(layout, given, Registered({"id": 4}, Reject("schema 1 is not known")))
    assert (away.id, away.reason) == ("4", "schema 1 is not known")
    assert dead(layout, given, Registered(Reject("bad key"), {"text": "x"})).reason == "bad key"
    assert "not an object" in dead(layout, given, Registered(5, [5])).reason
    assert change(layout, record(None, b"\0\0\0\0\1k"), Registered(5, Reject("never asked"))).op is Op.DELETE
    assert "key is null" in dead(layout, record(b"v", b""), Registered(Reject("never asked"), {})).reason
    debezium = Layout(envelope="debezium", format=form, key_format=form, text=("name",))
    lacking = {"op": "u", "source": {}, "after": {"name": "__debezium_unavailable_value"}}
    assert "`name` is not in the event" in dead(debezium, given, Registered(5, lacking)).reason


def test_the_book_of_schemas_is_what_the_decoder_asks() -> None:
    decoder(Layout(envelope="none", format="avro"), SchemaBook([]))


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (TRACE, TRACE),
        (f"cc{TRACE[2:]}-what the future brings", f"cc{TRACE[2:]}"),
        (f"{TRACE}-more", ""),
        (f"ff{TRACE[2:]}", ""),
        (TRACE.upper(), ""),
        (TRACE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32), ""),
        (TRACE.replace("b7ad6b7169203331", "0" * 16), ""),
        (f"{TRACE}\n", ""),
        ("", ""),
        ("é", ""),
    ],
)
def test_a_change_carries_its_trace_if_it_is_well_formed(header: str, trace: str) -> None:
    headers = (("other", b"\xff"), ("traceparent", header.encode()))
    for layout in (ROWS, Layout()):
        assert change(layout, record({"text": "x"}, headers=headers)).trace == trace
        assert change(layout, record(None, headers=headers)).trace == trace
        assert change(layout, record({"text": "x"})).trace == ""


# Headwater's own changes, ordered or keyed otherwise


def test_own_changes_with_an_order_or_another_key() -> None:
    layout = Layout(version="body.rev")
    found = change(layout, record({"id": "a", "body": {"text": "x", "rev": 4}, "time": "1970-01-01T00:00:01Z"}))
    assert (found.version.order, found.time_us, found.body) == (4, 1_000_000, {"text": "x", "rev": 4})
    assert change(layout, record({"op": "delete", "body": {"rev": 5}})).op is Op.DELETE
    assert "nothing orders it" in dead(layout, record(None)).reason
    by_value = Layout(id="value.id", version="rev")
    assert change(by_value, record({"id": "z", "text": "x", "rev": 1}, b"other")).id == "z"
    assert "`id` differs" in dead(Layout(key_format="json"), record({"id": "z", "text": "x"}, {"id": "a"})).reason


# Whatever comes


LAYOUTS = [
    Layout(),
    Layout(version="rev"),
    ROWS,
    MAPPED,
    ORDERED,
    JSON_KEYS,
    Layout(envelope="none", format="text"),
    Layout(envelope="none", id="value.a", time="b", version="c", delete="value.d == headers.e || key == event"),
    Layout(envelope="debezium", key_format="json", text=("a",), version="source.lsn"),
    Layout(envelope="debezium", id="value.a", body=("b",), time="ts_ms", delete="value.b > 1"),
    Layout(envelope="cloudevents", id="event.subject", version="event.sequence", text=("a",)),
    Layout(envelope="cloudevents", key_format="json", id="key.a", time="a"),
]
DECODERS = [decoder(layout, None) for layout in LAYOUTS]
NAMES = ["a", "b", "c", "d", "op", "source", "lsn", "ts_us", "before", "after", "payload", "schema", "type", "text"]
NAMES += ["__op", "__deleted", "specversion", "data", "data_base64", "subject", "sequence", "time", "id", "rev", "body"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    | st.sampled_from(["c", "d", "t", "1.0", "true", "__debezium_unavailable_value", "e30="]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
).map(msgspec.json.encode)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["headwater-version", "traceparent", "content-type", "ce_specversion", "ce_subject", "e", "CE_"]
        ),
        st.sampled_from([b"1.0", b"application/cloudevents+json", b"1.2.0.3", b"\xff", b""]) | st.binary(max_size=4),
    ),
    max_size=3,
).map(tuple)


@settings(deadline=None)
@given(st.sampled_from(DECODERS), st.none() | st.binary() | VALUES, st.binary() | VALUES, HEADERS)
def test_no_record_makes_the_decoder_fail(
    decode: Any, value: bytes | None, key: bytes, headers: tuple[tuple[str, bytes], ...]
) -> None:
    found = decode(Record(0, 5, key, value, APPENDED_US, headers), ANY_EPOCH)
    assert check_id(found.id) is None
    if isinstance(found, Change):
        assert (found.body is None) == (found.op is Op.DELETE)
        assert found.digest == (digest(b"") if found.body is None else digest_value(found.body))
    else:
        assert found.reason


@settings(deadline=None)
@given(st.sampled_from(DECODERS), VALUES, VALUES)
def test_decoding_is_repeatable(decode: Any, value: bytes, key: bytes) -> None:
    given = Record(0, 5, key, value, APPENDED_US)
    assert decode(given, ANY_EPOCH) == decode(given, ANY_EPOCH)


def test_a_record_before_the_first_log_epoch_is_a_defect() -> None:
    with pytest.raises(ValueError, match="no log epoch"):
        decoder(ROWS, None)(record({"text": "x"}), ())
    late = decoder(ROWS, None)(record({"text": "x"}), (Epoch(1, "", 1), Epoch(2, "", 1, {0: 5})))
    assert late.version.epoch == 2


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=6), st.sampled_from(DECODERS))
def test_reasons_quote_nothing(text: str, decode: Any) -> None:
    secret = f"secret {text}"
    for value in (secret, {"a": secret, "rev": secret, "c": secret}, {"op": secret, "source": {}, "after": secret}):
        found = decode(Record(0, 5, b'"k"', raw(value), APPENDED_US), ANY_EPOCH)
        assert isinstance(found, Change) or "secret" not in found.reason
