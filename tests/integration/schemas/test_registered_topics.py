"""Topics that others fill with Confluent's serializers, read through a real broker and a real registry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema as Registered
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.schema_registry.schema_registry_client import SchemaReference
from confluent_kafka.serialization import MessageField, SerializationContext

from headwater.clock import SystemClock, SystemDice
from headwater.errors import Reject, Retry, Unreachable
from headwater.log.codecs.schemas import Part, SchemaBook
from headwater.log.kafka_history import record_of
from headwater.log.learning import Learning, LearningReader
from headwater.log.port import Batch
from headwater.log.schema_registry import HttpSchemaRegistry
from headwater.model.change import Record
from headwater.model.receipt import Settlement
from headwater.patience import Patience
from tests.integration.schemas.conftest import Registry
from tests.kafka.client import Kafka, fresh_name
from tests.kafka.proxy import FaultProxy
from tests.unit.log.schemas.fake import FRAMINGS, FakeRegistry, mock_client, serving
from tests.unit.log.schemas.protos import ARTICLE, files, messages

AVRO = {
    "type": "record",
    "name": "Doc",
    "namespace": "org.example",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "text", "type": ["null", "string"], "default": None},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
    ],
}


class Topic:
    """A topic, a serializer's way into it, and its records as Headwater reads them."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.name = kafka.topic()

    def send(self, serializer: Any, values: Sequence[object], key: Any = None) -> None:
        producer = Producer(self.kafka.settings())
        for number, value in enumerate(values):
            headers: list[tuple[str, Any]] = []
            written = serializer(value, SerializationContext(self.name, MessageField.VALUE, headers))
            raw = f"k{number}".encode()
            if key is not None:
                raw = key(f"k{number}", SerializationContext(self.name, MessageField.KEY, headers))
            producer.produce(self.name, written, raw, headers=headers)
        assert producer.flush(30) == 0

    def records(self, number: int) -> list[Record]:
        found = [record_of(message) for message in self.kafka.read(self.name, number)]
        assert len(found) == number
        return found


class TopicReader:
    """The least LogReader over a topic of one partition."""

    def __init__(self, topic: Topic) -> None:
        self._consumer = Consumer(topic.kafka.settings(group_id=topic.kafka.group(), enable_auto_commit="false"))
        self._consumer.assign([TopicPartition(topic.name, 0, OFFSET_BEGINNING)])
        self._told = False

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        assigned, self._told = ({} if self._told else {0: 0}), True
        messages = await asyncio.to_thread(self._consumer.consume, max_records, wait_s) if max_records else []
        return Batch([record_of(it) for it in messages if it.error() is None], assigned)

    async def settle(self, settlement: Settlement) -> None:
        pass

    async def close(self) -> None:
        self._consumer.close()


def learned(url: str, records: Sequence[Record], *parts: Part) -> SchemaBook:
    async def learn() -> SchemaBook:
        registry = HttpSchemaRegistry(url)
        book = SchemaBook(parts or [Part.VALUE])
        try:
            # As a stream does: a registry that takes its time is waited for.
            patience = Patience(SystemClock(), SystemDice(), lambda outage, dependency: None)
            await patience.call(registry.check)
            learning = Learning(book, registry, SystemClock())
            await asyncio.wait_for(patience.call(lambda: learning(records)), 120)
        finally:
            await registry.close()
        return book

    return asyncio.run(learn())


@pytest.fixture
def theirs(registry: Registry) -> Iterator[SchemaRegistryClient]:
    """Their client. It closes nothing of its own accord."""
    with SchemaRegistryClient({"url": registry.url, "timeout": 20}) as client:
        yield client


def subjects(**more: object) -> dict[str, Any]:
    """A subject for each topic and record: the default asks a registry for what only Confluent's has."""
    return {"subject.name.strategy": topic_record_subject_name_strategy, **more}


def id_in_header(payload: bytes, context: SerializationContext, schema_id: Any) -> bytes:
    """A schema's number in the header, for a registry that has no GUIDs."""
    name = "__key_schema_id" if context.field == MessageField.KEY else "__value_schema_id"
    assert isinstance(context.headers, list)
    context.headers.append((name, schema_id.id_to_bytes()))
    return payload


PLACES: dict[str, dict[str, Any]] = {"prefix": {}, "header": {"schema.id.serializer": id_in_header}}


@pytest.mark.parametrize("place", PLACES)
def test_avro_keys_and_values(kafka: Kafka, registry: Registry, theirs: SchemaRegistryClient, place: str) -> None:
    topic = Topic(kafka)
    conf = subjects(**PLACES[place])
    serializer = AvroSerializer(theirs, json.dumps(AVRO), conf=conf)
    keys = AvroSerializer(theirs, '"string"', conf={**PLACES[place], "subject.name.strategy": _by_topic})
    values = [{"id": str(number), "text": "ä" * number, "price": b"\x01\x00"} for number in range(3)]
    topic.send(serializer, values, keys)
    records = topic.records(3)
    book = learned(registry.url, records, Part.KEY, Part.VALUE)
    assert [book.key(it) for it in records] == ["k0", "k1", "k2"]
    assert [book.value(it) for it in records] == [{**value, "price": "2.56"} for value in values]


def _by_topic(context: SerializationContext, record: str | None) -> str:
    return f"{context.topic}-{context.field}"


@pytest.mark.parametrize("place", PLACES)
def test_json(kafka: Kafka, registry: Registry, theirs: SchemaRegistryClient, place: str) -> None:
    topic = Topic(kafka)
    schema = {"title": "Doc", "type": "object", "properties": {"id": {"type": "string"}}}
    topic.send(JSONSerializer(json.dumps(schema), theirs, conf=subjects(**PLACES[place])), [{"id": "1"}])
    records = topic.records(1)
    assert learned(registry.url, records).value(records[0]) == {"id": "1"}


@pytest.mark.parametrize("place", PLACES)
def test_protobuf(kafka: Kafka, registry: Registry, theirs: SchemaRegistryClient, place: str) -> None:
    topic = Topic(kafka)
    classes = messages(files(ARTICLE.replace("package news", f"package {fresh_name('news').replace('-', '_')}")))
    article = next(it for name, it in classes.items() if name.endswith(".Article"))
    message = article(id="1", tags=["a"])
    message.at.seconds = 1
    topic.send(ProtobufSerializer(article, theirs, conf=subjects(**PLACES[place])), [message])
    records = topic.records(1)
    value = learned(registry.url, records).value(records[0])
    assert isinstance(value, dict)
    assert (value["id"], value["tags"], value["at"]) == ("1", ["a"], "1970-01-01T00:00:01Z")


def test_protobuf_registered_as_text_with_a_reference(
    kafka: Kafka, registry: Registry, theirs: SchemaRegistryClient
) -> None:
    other = 'syntax = "proto3"; package o; message Author { string name = 1; }'
    main = 'syntax = "proto3"; package m; import "other.proto"; message Unused { } message Doc { o.Author by = 1; }'
    subject = fresh_name("subject")
    theirs.register_schema(f"{subject}-other", Registered(other, "PROTOBUF"))
    references = [SchemaReference("other.proto", f"{subject}-other", 1)]
    number = theirs.register_schema(subject, Registered(main, "PROTOBUF", references=references))
    message = messages(files(main, other=other))["m.Doc"]()
    message.by.name = "Ada"
    topic = kafka.topic()
    frame = b"\0" + number.to_bytes(4, "big") + b"\x02\x02"
    kafka.produce(topic, [(b"k", frame + message.SerializeToString())])
    (record,) = [record_of(it) for it in kafka.read(topic, 1)]
    assert learned(registry.url, [record]).value(record) == {"by": {"name": "Ada"}}


def test_avro_with_a_reference(kafka: Kafka, registry: Registry, theirs: SchemaRegistryClient) -> None:
    subject = fresh_name("subject")
    part = {"type": "record", "name": "Part", "namespace": "n", "fields": [{"name": "text", "type": "string"}]}
    whole = {"type": "record", "name": "Doc", "fields": [{"name": "part", "type": "n.Part"}]}
    theirs.register_schema(subject, Registered(json.dumps(part), "AVRO"))
    schema = Registered(json.dumps(whole), "AVRO", references=[SchemaReference("n.Part", subject, 1)])
    topic = Topic(kafka)
    topic.send(AvroSerializer(theirs, schema, conf=subjects()), [{"part": {"text": "a"}}])
    records = topic.records(1)
    assert learned(registry.url, records).value(records[0]) == {"part": {"text": "a"}}


def test_guids_in_headers_through_a_broker(kafka: Kafka) -> None:
    """Apicurio has no GUIDs, so the registry here is Confluent's own mock behind the loopback."""
    theirs, topic = mock_client(), Topic(kafka)
    topic.send(AvroSerializer(theirs, json.dumps(AVRO), conf=FRAMINGS["header"]), [{"id": "1", "price": b"\x01"}])
    records = topic.records(1)
    fake = FakeRegistry()
    fake.copy(theirs)
    with serving(fake):
        assert learned(fake.url, records).value(records[0]) == {"id": "1", "text": None, "price": "0.01"}


def test_an_unknown_id_and_an_unknown_guid_harm_their_own_records_only(
    kafka: Kafka, registry: Registry, theirs: SchemaRegistryClient
) -> None:
    topic = Topic(kafka)
    kafka.produce(topic.name, [(b"bad", b"\0\x7f\xff\xff\xffx"), (b"worse", b"\x01" + b"g" * 16), (b"no", b"{}")])
    topic.send(AvroSerializer(theirs, json.dumps(AVRO), conf=subjects()), [{"id": "1", "price": b""}])
    records = topic.records(4)
    book = learned(registry.url, records)
    for it, reason in zip(records[:3], ["2147483647 is not known", "is not known", "names no schema"], strict=True):
        with pytest.raises(Reject, match=reason):
            book.value(it)
    assert book.value(records[3]) == {"id": "1", "text": None, "price": "0.00"}


def test_an_address_on_the_same_server_that_is_no_registry(registry: Registry) -> None:
    with pytest.raises(Unreachable, match="no schema registry"):
        learned(registry.url.removesuffix("/apis/ccompat/v7"), [])


def test_a_registry_that_goes_and_comes_back_costs_nothing_but_time(
    kafka: Kafka, registry: Registry, theirs: SchemaRegistryClient
) -> None:
    topic = Topic(kafka)

    def write(name: str) -> None:
        schema = {"type": "record", "name": name, "fields": [{"name": "text", "type": "string"}]}
        serializer = AvroSerializer(theirs, json.dumps(schema), conf=subjects())
        topic.send(serializer, [{"text": f"{name}-{number}"} for number in range(20)])

    async def follow(proxy: FaultProxy) -> tuple[list[object], int, int]:
        http = HttpSchemaRegistry(registry.at(proxy.port), timeout_s=1.0)
        book = SchemaBook([Part.VALUE])
        reader = LearningReader(TopicReader(topic), Learning(book, http, SystemClock()))
        values: list[object] = []
        outages = assigned = 0
        for _ in range(200):
            try:
                batch = await reader.poll(7, 1 << 20, 1.0)
            except Retry:
                outages += 1
                if outages == 3:
                    await asyncio.to_thread(proxy.heal)
                    await asyncio.to_thread(proxy.stall)
                elif outages == 5:
                    await asyncio.to_thread(proxy.heal)
                continue
            assigned += len(batch.assigned)
            values += [book.value(it) for it in batch.records]
            if len(values) == 20 and not outages:
                await asyncio.to_thread(proxy.refuse)
                await asyncio.to_thread(proxy.cut)
                await asyncio.to_thread(write, "Second")
            if len(values) == 40:
                break
        await reader.close()
        await http.close()
        return values, outages, assigned

    write("First")
    with FaultProxy(registry.port) as proxy:
        values, outages, assigned = asyncio.run(follow(proxy))
    assert values == [{"text": f"{name}-{number}"} for name in ("First", "Second") for number in range(20)]
    assert (outages >= 5, assigned) == (True, 1)
