"""Avro: read as others read it where they are right, and safely where a payload is hostile."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Reject
from headwater.log.codecs import avro

Json = Any


def write(schema: Json, value: Json) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def read(schema: Json, payload: bytes, *imports: Json) -> object:
    return avro.decoder(json.dumps(schema).encode(), [json.dumps(it).encode() for it in imports])(payload)


def both(schema: Json, value: Json) -> object:
    return read(schema, write(schema, value))


def record(*fields: tuple[str, Json], name: str = "R", **more: Json) -> Json:
    return {"type": "record", "name": name, "fields": [{"name": it, "type": kind} for it, kind in fields], **more}


def long(number: int) -> bytes:
    raw = (number << 1) ^ (number >> 63)
    out = bytearray()
    while raw > 127:
        out.append(raw & 127 | 128)
        raw >>= 7
    return bytes([*out, raw])


PRIMITIVES: dict[str, st.SearchStrategy[Json]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "string": st.text(),
}


@st.composite
def schemas_and_values(draw: st.DrawFn) -> tuple[Json, st.SearchStrategy[Json]]:
    names = iter(range(1000))

    def schema(depth: int) -> tuple[Json, st.SearchStrategy[Json]]:
        kinds = ["primitive"] if depth == 0 else ["primitive", "array", "map", "record", "optional"]
        kind = draw(st.sampled_from(kinds))
        if kind == "primitive":
            name = draw(st.sampled_from(sorted(PRIMITIVES)))
            return name, PRIMITIVES[name]
        if kind == "record":
            parts = {f"f{number}": schema(depth - 1) for number in range(draw(st.integers(1, 4)))}
            made = record(*((it, part[0]) for it, part in parts.items()), name=f"R{next(names)}")
            return made, st.fixed_dictionaries({it: part[1] for it, part in parts.items()})
        inner, value = schema(depth - 1)
        if kind == "optional":
            if inner == "null" or isinstance(inner, list):
                return inner, value
            return ["null", inner], st.none() | value
        if kind == "map":
            return {"type": "map", "values": inner}, st.dictionaries(st.text(max_size=5), value, max_size=4)
        if inner == "null" or (isinstance(inner, dict) and inner["type"] == "record"):
            inner, value = (
                ["null", inner] if inner != "null" else "int",
                value if inner != "null" else PRIMITIVES["int"],
            )
        return {"type": "array", "items": inner}, st.lists(value, max_size=4)

    return schema(3)


@settings(max_examples=150, deadline=None)
@given(schemas_and_values(), st.data())
def test_what_another_implementation_writes_comes_back(
    made: tuple[Json, st.SearchStrategy[Json]], data: st.DataObject
) -> None:
    schema, values = made
    value = data.draw(values)
    assert both(schema, value) == value


@settings(max_examples=300, deadline=None)
@given(schemas_and_values(), st.binary(max_size=60))
def test_any_bytes_are_a_value_or_rejected(made: tuple[Json, object], payload: bytes) -> None:
    try:
        value = read(made[0], payload)
    except Reject:
        return
    json.dumps(value, allow_nan=False)  # JSON can hold it


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ("bytes", b"\xff\x00", "/wA="),
        ({"type": "fixed", "name": "F", "size": 2}, b"ab", "YWI="),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("-0.05"), "-0.05"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9}, Decimal(120), "120"),
        (
            {"type": "fixed", "name": "D", "size": 8, "logicalType": "decimal", "precision": 15, "scale": 3},
            Decimal("1234567.891"),
            "1234567.891",
        ),
        ({"type": "string", "logicalType": "uuid"}, UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        ({"type": "int", "logicalType": "date"}, date(2024, 2, 29), "2024-02-29"),
        ({"type": "int", "logicalType": "time-millis"}, time(23, 59, 1, 5000), "23:59:01.005000"),
        ({"type": "long", "logicalType": "time-micros"}, time(0, 0, 1), "00:00:01"),
        (
            {"type": "long", "logicalType": "timestamp-millis"},
            datetime(1969, 12, 31, 23, 59, 59, 999000, tzinfo=UTC),
            "1969-12-31T23:59:59.999000Z",
        ),
        (
            {"type": "long", "logicalType": "timestamp-micros"},
            datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
            "2024-01-02T03:04:05.000006Z",
        ),
        (
            {"type": "long", "logicalType": "local-timestamp-millis"},
            datetime(2024, 1, 2, 3, 4, 5),  # noqa: DTZ001 (a local time has no zone)
            "2024-01-02T03:04:05",
        ),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1, "1970-01-01T00:00:00.000000001Z"),
        ({"type": "string", "logicalType": "somebody's own"}, "as it is", "as it is"),
        ({"type": "string", "avro.java.string": "String"}, "from Java", "from Java"),
        ("double", float("nan"), "NaN"),
        ("float", float("-inf"), "-Infinity"),
    ],
)
def test_typed_values_become_plain_ones(schema: Json, value: Json, expected: object) -> None:
    assert both(schema, value) == expected


def test_a_uuid_and_a_duration_in_fixed_bytes() -> None:
    uuid = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
    assert read(uuid, UUID(int=7).bytes) == str(UUID(int=7))
    duration = {"type": "fixed", "name": "T", "size": 12, "logicalType": "duration"}
    raw = b"".join(it.to_bytes(4, "little") for it in (1, 2, 3))
    assert read(duration, raw) == {"months": 1, "days": 2, "milliseconds": 3}


def test_a_decimal_beyond_its_precision_is_not_rounded() -> None:
    schema = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
    assert read(schema, long(3) + (1234567).to_bytes(3, "big")) == "12345.67"


def test_names_in_namespaces_nested_and_imported() -> None:
    other = record(("at", "long"), name="Stamp", namespace="org.other")
    inner = record(("x", "int"), name="Inner")
    schema = record(
        ("a", inner),
        ("b", "Inner"),
        ("c", "org.docs.Inner"),
        ("d", "org.other.Stamp"),
        name="Doc",
        namespace="org.docs",
    )
    value = {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}, "d": {"at": 4}}
    assert read(schema, bytes([2, 4, 6, 8]), other) == value


def test_a_recursive_schema_down_to_the_bound_and_no_further() -> None:
    schema = record(("next", ["null", "R"]))
    value = read(schema, b"\x02" * 127 + b"\x00")
    for _ in range(127):
        assert isinstance(value, dict)
        value = value["next"]
    assert value == {"next": None}
    with pytest.raises(Reject, match="nested too deeply"):
        read(schema, b"\x02" * 100_000)  # fastavro ends the process here


@pytest.mark.parametrize(
    ("schema", "payload", "reason"),
    [
        ("string", long(-1) + b"abc", "too early"),
        ("string", long(5) + b"abc", "too early"),
        ("string", long(2**40), "too early"),
        ("string", b"", "too early"),
        ("double", b"1234", "too early"),
        ({"type": "fixed", "name": "F", "size": 4}, b"abc", "too early"),
        ("string", long(2) + b"\xff\xfe", "not UTF-8"),
        ("string", long(1) + b"ab", "bytes follow its end"),
        ("long", b"\xff" * 30, "too long"),
        ("long", b"\xff" * 9 + b"\x7f", "too long"),
        ("int", long(2**31), "too long"),
        ("boolean", b"\x02", "neither true nor false"),
        (["null", "string"], long(-1) + b"\x02a", "branch"),
        (["null", "string"], long(2), "branch"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, long(1), "symbol"),
        ({"type": "array", "items": "int"}, long(2**62), "too early"),
        ({"type": "array", "items": "int"}, long(-(2**63)) + long(1), "too early"),
        ({"type": "map", "values": "null"}, long(2**62), "too early"),
        ({"type": "int", "logicalType": "date"}, long(2**30), "years"),
        ({"type": "long", "logicalType": "timestamp-millis"}, long(2**62), "years"),
        ({"type": "int", "logicalType": "time-millis"}, long(-1), "time of day"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4}, long(5000) + b"\x7f" * 5000, "decimal"),
    ],
)
def test_what_does_not_match_is_rejected(schema: Json, payload: bytes, reason: str) -> None:
    with pytest.raises(Reject, match=reason):
        read(schema, payload)


def test_a_block_with_its_size_is_read() -> None:
    assert read({"type": "array", "items": "int"}, long(-2) + long(2) + long(1) + long(2) + long(0)) == [1, 2]


@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        (b"{", "no JSON"),
        (b'{"type": "record", "name": "R"}', "no Avro schema"),
        (b'"Unknown"', "no Avro schema"),
        (b"7", "no Avro schema"),
        (b'{"type": "fixed", "name": "F", "size": -1}', "no Avro schema"),
        (b'{"type": "array", "items": "null"}', "take no bytes"),
        (b'{"type": "array", "items": {"type": "record", "name": "E", "fields": []}}', "take no bytes"),
        (b'{"type": "array", "items": ' * 100_000, "nested too deeply|no JSON"),
        (b'{"type":' * 5000 + b'"int"' + b"}" * 5000, "nested too deeply"),
        (b'[["int"]]', "no Avro schema"),
    ],
)
def test_a_schema_of_no_use_says_why(definition: bytes, reason: str) -> None:
    with pytest.raises(Reject, match=reason):
        avro.decoder(definition, [])
