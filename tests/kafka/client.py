"""The short words of a test about a broker: make a topic of its own, put records in, take them out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from os import getpid
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.kafka.readiness import create

_numbers = count(1)

#: Names of settings, or their ends, in which an underscore is one.
AS_IS = ("_cb", "on_commit", "log_level")
FLUSH_S = 40

Record = tuple[bytes | None, bytes | None]


def fresh_name(what: str) -> str:
    """A name that no other test of this run uses: tests share a broker and never a topic or a group."""
    return f"{what}-{getpid()}-{next(_numbers)}"


@dataclass(frozen=True)
class Kafka:
    """Where a broker is reached, and as whom."""

    bootstrap: str
    #: What a client needs besides the address, in librdkafka's names.
    security: Mapping[str, str] = field(default_factory=dict)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Settings for a client of confluent-kafka; `more` with `_` for `.`, except in the few names that have it."""
        named = {name if name.endswith(AS_IS) else name.replace("_", "."): value for name, value in more.items()}
        return {"bootstrap.servers": self.bootstrap, **self.security, **named}

    def admin(self) -> AdminClient:
        return AdminClient(self.settings(log_level=4))

    def topic(
        self, name: str = "", *, partitions: int = 1, replicas: int = -1, config: Mapping[str, str] | None = None
    ) -> str:
        """Create a topic under a fresh name, or under the one given, and return the name."""
        topic = name or fresh_name("topic")
        create(self.admin(), NewTopic(topic, partitions, replicas, config=dict(config or {})))
        return topic

    def group(self) -> str:
        return fresh_name("group")

    def produce(self, topic: str, records: Iterable[Record], **more: Any) -> list[int]:
        """Append records, key and value, and return their offsets once all are acknowledged. Raise KafkaException."""
        offsets: list[int] = []
        errors: list[KafkaError] = []

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                errors.append(error)
            else:
                offsets.append(message.offset() or 0)

        producer = Producer(self.settings(**{"message_timeout_ms": 30_000, **more}))
        for key, value in records:
            producer.produce(topic, value, key, on_delivery=delivered)
            producer.poll(0)
        if producer.flush(FLUSH_S):
            producer.purge()
            producer.flush(FLUSH_S)
        if errors:
            raise KafkaException(errors[0])
        return offsets

    @contextmanager
    def consumer(self, topics: Sequence[str], **more: Any) -> Iterator[Consumer]:
        """A consumer from the beginning, in a group of its own unless `group_id` names one. It never commits."""
        fixed = {"group_id": self.group(), "auto_offset_reset": "earliest"}
        consumer = Consumer(self.settings(enable_auto_commit="false", **{**fixed, **more}))
        try:
            if topics:
                consumer.subscribe(list(topics))
            yield consumer
        finally:
            consumer.close()

    def read(self, topic: str, number: int, timeout_s: float = 30, **more: Any) -> list[Message]:
        """The first `number` records of a topic, in no group; fewer when they do not come in time."""
        found: list[Message] = []
        until = time.monotonic() + timeout_s
        with self.consumer([], **more) as consumer:
            partitions = consumer.list_topics(topic, timeout=timeout_s).topics[topic].partitions
            consumer.assign([TopicPartition(topic, it, OFFSET_BEGINNING) for it in partitions])
            while len(found) < number and time.monotonic() < until:
                for message in consumer.consume(number - len(found), 0.5):
                    if (error := message.error()) is not None:
                        raise KafkaException(error)
                    found.append(message)
        return found

    def whole(self, topic: str, isolation: str = "read_committed") -> Iterator[Message]:
        """Every record of a topic that a reader of this kind sees now, to the ends of its partitions."""
        with self.consumer([], isolation_level=isolation, enable_partition_eof="true") as consumer:
            left = set(consumer.list_topics(topic, timeout=30).topics[topic].partitions)
            consumer.assign([TopicPartition(topic, it, OFFSET_BEGINNING) for it in left])
            while left:
                for message in consumer.consume(500, 0.5):
                    if (error := message.error()) is None:
                        yield message
                    elif error.code() == KafkaError._PARTITION_EOF:
                        left.discard(message.partition() or 0)
                    else:
                        raise KafkaException(error)
