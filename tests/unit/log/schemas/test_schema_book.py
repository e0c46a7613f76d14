"""Which schema a record names, and what the book makes of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema as Registered
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.schema_registry.schema_registry_client import SchemaReference

from headwater.errors import Reject
from headwater.log.codecs.schemas import Part, Schema, SchemaBook, SchemaKind, SchemaRef, Unusable, reference
from headwater.log.schema_registry import HttpSchemaRegistry
from headwater.model.change import Record
from tests.unit.log.schemas.fake import FRAMINGS, FakeRegistry, framed, mock_client, record, serving, written
from tests.unit.log.schemas.protos import ARTICLE, files, messages

GUID = "00112233-4455-6677-8899-aabbccddeeff"
RAW_GUID = bytes.fromhex(GUID.replace("-", ""))

STRING = Schema(SchemaKind.AVRO, b'"string"')
JSON = Schema(SchemaKind.JSON, b"{}")


def book(*known: tuple[SchemaRef, Schema | Unusable], **bounds: int) -> SchemaBook:
    made = SchemaBook(Part, **bounds)
    for ref, schema in known:
        made.put(ref, schema, 0.0)
    return made


def learned(client: Any, *records: Record) -> SchemaBook:
    """A book that learned over HTTP what these records name, from a registry with another's schemas."""

    async def learn(url: str) -> SchemaBook:
        registry = HttpSchemaRegistry(url)
        made = SchemaBook({part for part in Part for it in records if reference(it, part)})
        for ref in made.references(records):
            made.put(ref, await registry.fetch(ref), 0.0)
        await registry.close()
        return made

    fake = FakeRegistry()
    fake.copy(client)
    with serving(fake):
        return asyncio.run(learn(fake.url))


@pytest.mark.parametrize(
    ("it", "expected"),
    [
        (framed(7, b"x"), SchemaRef(7)),
        (framed(2**32 - 1), SchemaRef(2**32 - 1)),
        (record(b"\x01" + RAW_GUID + b"x"), SchemaRef(0, GUID)),
        (record(b"x", headers=[("__value_schema_id", b"\x01" + RAW_GUID)]), SchemaRef(0, GUID)),
        (record(b"x", headers=[("__value_schema_id", b"\x00\x00\x00\x00\x07")]), SchemaRef(7)),
        (framed(9, headers=[("__key_schema_id", b"\x00\x00\x00\x00\x07")]), SchemaRef(9)),
        (record(None, headers=[("__value_schema_id", b"\x01" + RAW_GUID)]), None),
        (record(b""), None),
        (record(b"{}"), None),
        (record(b"\x00\x00\x00\x07"), None),
        (record(b"\x01" + RAW_GUID[:15]), None),
        (framed(7, headers=[("__value_schema_id", b"\x05")]), None),
    ],
)
def test_a_value_names_its_schema_in_front_or_in_a_header(it: Record, expected: SchemaRef | None) -> None:
    assert reference(it, Part.VALUE) == expected


@pytest.mark.parametrize("framing", FRAMINGS)
def test_avro_as_confluent_writes_it(framing: str) -> None:
    client = mock_client()
    text = {"type": "record", "name": "Doc", "fields": [{"name": "text", "type": "string"}]}
    value = written(AvroSerializer(client, json.dumps(text), conf=FRAMINGS[framing]), {"text": "grüezi"})
    key = written(AvroSerializer(client, '"string"', conf=FRAMINGS[framing]), "id-1", key=True)
    both = record(value.value, key.key, [*value.headers, *key.headers])
    made = learned(client, both)
    assert (made.key(both), made.value(both)) == ("id-1", {"text": "grüezi"})


def test_avro_with_a_reference() -> None:
    client = mock_client()
    part = {"type": "record", "name": "Part", "namespace": "n", "fields": [{"name": "text", "type": "string"}]}
    client.register_schema("part", Registered(json.dumps(part), "AVRO"))
    whole = {
        "type": "record",
        "name": "Doc",
        "fields": [{"name": "parts", "type": {"type": "array", "items": "n.Part"}}],
    }
    schema = Registered(json.dumps(whole), "AVRO", references=[SchemaReference("n.Part", "part", 1)])
    it = written(AvroSerializer(client, schema), {"parts": [{"text": "a"}]})
    assert learned(client, it).value(it) == {"parts": [{"text": "a"}]}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_json_as_confluent_writes_it(framing: str) -> None:
    client = mock_client()
    schema = {"title": "Doc", "type": "object", "properties": {"text": {"type": "string"}}}
    it = written(JSONSerializer(json.dumps(schema), client, conf=FRAMINGS[framing]), {"text": "a", "n": [1, None]})
    assert learned(client, it).value(it) == {"text": "a", "n": [1, None]}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_protobuf_as_confluent_writes_it(framing: str) -> None:
    client = mock_client()
    classes = messages(files(ARTICLE))
    serializer = ProtobufSerializer(classes["news.Article"], client, conf=FRAMINGS[framing])
    message = classes["news.Article"](id="7", tags=["a"])
    message.price.units = 3
    it = written(serializer, message)
    value = learned(client, it).value(it)
    assert isinstance(value, dict)
    assert (value["id"], value["tags"], value["price"]["units"]) == ("7", ["a"], 3)
    part = written(
        ProtobufSerializer(classes["news.Article.Part"], client, conf=FRAMINGS[framing]),
        classes["news.Article.Part"](text="nested"),
    )
    assert learned(client, part).value(part) == {"text": "nested", "parts": []}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_protobuf_with_a_reference(framing: str) -> None:
    client = mock_client()
    other = 'syntax = "proto3"; package o; message Author { string name = 1; }'
    main = 'syntax = "proto3"; package m; import "other.proto"; message Doc { o.Author by = 1; }'
    doc = messages(files(main, other=other))["m.Doc"]
    message = doc()
    message.by.name = "Ada"
    it = written(ProtobufSerializer(doc, client, conf=FRAMINGS[framing]), message)
    assert learned(client, it).value(it) == {"by": {"name": "Ada"}}


@pytest.mark.parametrize(
    ("it", "reason"),
    [
        (record(b""), "the value names no schema: it is too short to name a schema"),
        (record(b"\x00\x01"), "the value names no schema: it is too short to name a schema"),
        (
            record(b'{"id": "secret"}'),
            "the value names no schema: it does not begin with a schema registry's magic byte",
        ),
        (framed(8), "the value cannot be read: schema id 8 is not known to the registry"),
        (framed(9), "the value cannot be read: schema id 9 is of no use: its definition is no JSON"),
        (framed(7, b"\x0asecret"), "the value cannot be read with schema id 7: bytes follow its end"),
        (framed(7, b"\x7fsecret"), "the value cannot be read with schema id 7: it ends too early"),
        (framed(6, b'{"secret"'), "the value cannot be read with schema id 6: not JSON: *"),
        (framed(6, b'"a" "b"'), "the value cannot be read with schema id 6: it is no JSON"),
        (framed(6, b'1,"x":2'), "the value cannot be read with schema id 6: it is no JSON"),
        (framed(6, b"["), "the value cannot be read with schema id 6: it is no JSON"),
        (framed(6, b"[" * 5000), "the value cannot be read with schema id 6: *"),
        (framed(6, b"[" * 200 + b"]" * 200), "the value cannot be read with schema id 6: nested too deeply*"),
        (
            record(b"x", headers=[("__value_schema_id", b"\x00\x00\x00\x00\x07\x00")]),
            "the value cannot be read with schema id 7: bytes follow the schema's id in the header",
        ),
    ],
)
def test_what_cannot_be_read_says_why_without_its_text(it: Record, reason: str) -> None:
    known = book(
        (SchemaRef(6), JSON),
        (SchemaRef(7), STRING),
        (SchemaRef(8), Unusable("is not known to the registry")),
        (SchemaRef(9), Schema(SchemaKind.AVRO, b"{")),
    )
    with pytest.raises(Reject) as error:
        known.value(it)
    assert error.value.reason.startswith(reason.rstrip("*"))
    assert reason.endswith("*") or error.value.reason == reason
    assert "secret" not in error.value.reason


@pytest.mark.parametrize("value", [{"a": 1}, [1, "x"], "text", 3, 1.5, True, None])
def test_json_of_any_kind(value: object) -> None:
    it = framed(6, json.dumps(value).encode())
    assert book((SchemaRef(6), JSON)).value(it) == value


def test_a_delete_marker_has_no_value() -> None:
    assert book().value(record(None)) is None


def test_a_record_that_nobody_learned_is_a_defect_and_no_dead_letter() -> None:
    with pytest.raises(KeyError):
        book().value(framed(1))


def test_only_the_parts_with_schemas_are_looked_up_each_reference_once() -> None:
    both = [framed(1, key=b"\x00\x00\x00\x00\x02k"), framed(1, key=b"\x00\x00\x00\x00\x03k"), record(None)]
    assert SchemaBook([Part.VALUE]).references(both) == [SchemaRef(1)]
    assert SchemaBook([Part.KEY, Part.VALUE]).references(both) == [SchemaRef(2), SchemaRef(1), SchemaRef(3)]


def test_an_unknown_id_is_asked_for_again_after_a_while_and_a_known_one_never() -> None:
    made = book((SchemaRef(1), STRING), (SchemaRef(2), Unusable("is not known to the registry")))
    refs = [SchemaRef(1), SchemaRef(2)]
    assert made.wanted(refs, 59.0) == []
    assert made.wanted(refs, 60.0) == [SchemaRef(2)]
    assert made.wanted([SchemaRef(3)], 0.0) == [SchemaRef(3)]
    with pytest.raises(Reject):
        made.value(framed(2))  # until the registry has answered, the last answer counts


def test_what_was_used_last_stays_and_so_does_what_is_needed_now() -> None:
    refs = [SchemaRef(number) for number in range(1, 6)]
    made = book(*((ref, STRING) for ref in refs), max_schemas=3)
    made.wanted([SchemaRef(1)], 0.0)
    made.trim(keep={SchemaRef(2)})
    assert made.wanted(refs, 0.0) == [SchemaRef(3), SchemaRef(4)]
    made.trim(keep=set(refs))
    made.put(SchemaRef(6), Schema(SchemaKind.AVRO, b'"string"' + b" " * 100), 0.0)
    made = book(*((ref, STRING) for ref in refs), max_bytes=17)
    made.trim(keep=())
    assert made.wanted(refs, 0.0) == refs[:3]


def test_a_newer_answer_replaces_the_older_one() -> None:
    made = book((SchemaRef(7), Unusable("is not known to the registry")), (SchemaRef(7), STRING))
    assert made.value(framed(7, b"\x02a")) == "a"
    made.trim(keep=())
    assert made.wanted([SchemaRef(7)], 0.0) == []
