"""A log of a test's own on a shared broker: its topics, its ports, and what stands in it from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicMetadata
from confluent_kafka.cimpl import NewTopic

from headwater.clock import SystemClock, SystemIds
from headwater.log.kafka import KafkaLog
from headwater.log.kafka_history import KafkaHistory
from headwater.log.kafka_ledger import KafkaLedger
from headwater.log.kafka_reader import KafkaReader, Membership
from headwater.log.kafka_registry import KafkaRegistry
from headwater.log.kafka_writer import KafkaWriter
from headwater.log.port import LogReader
from headwater.log.topics import changes_topic, control_topic, dead_topic, positions_topic, receipts_topic
from headwater.testing.log_bench import Contract, Log
from tests.kafka.client import Kafka, fresh_name
from tests.kafka.process import soon
from tests.kafka.readiness import create


def leaders(topic: TopicMetadata) -> list[int]:
    return [partition.leader for partition in topic.partitions.values()]


class Logs:
    """A log whose topics are made when its first port is opened, with as many partitions as that one names.

    Its methods are those of every log's factory (headwater.testing.log_bench).
    """

    def __init__(self, kafka: Kafka, prefix: str = "", membership: Membership | None = None, **changes: str) -> None:
        """`changes` are settings of the topic of changes, with `_` for `.`."""
        self.kafka = kafka
        self.prefix = prefix or fresh_name("hw")
        self.membership = membership or Membership()
        self._config = {name.replace("_", "."): value for name, value in changes.items()}
        self._made = False
        self.events: list[tuple[str, dict[str, Any]]] = []

    def make(self, partitions: int = 1) -> None:
        """Make the topics of stream s."""
        if self._made:
            return
        self._made = True
        changes = NewTopic(self.topic, partitions, config=self._config)
        receipts = NewTopic(receipts_topic(self.prefix, "s"), partitions)
        whole = (dead_topic(self.prefix, "s"), positions_topic(self.prefix, "s"), control_topic(self.prefix))
        admin = self.kafka.admin()
        create(admin, changes, receipts, *(NewTopic(name, 1) for name in whole))
        made = {changes.topic, receipts.topic, *whole}

        def are_led() -> bool:
            found = admin.list_topics(timeout=10).topics
            return all(it in found and found[it].partitions and min(leaders(found[it])) >= 0 for it in made)

        assert soon(are_led)
        # A leader that is named may not have taken over yet.
        places = {
            TopicPartition(it.topic, at): OffsetSpec.latest() for it in (changes, receipts) for at in range(partitions)
        }
        places |= {TopicPartition(it, 0): OffsetSpec.latest() for it in whole}

        def answer() -> bool:
            return all(it.exception(10) is None for it in admin.list_offsets(places).values())

        assert soon(answer)

    @property
    def topic(self) -> str:
        return changes_topic(self.prefix, "s")

    @property
    def receipts(self) -> str:
        return receipts_topic(self.prefix, "s")

    @property
    def dead(self) -> str:
        return dead_topic(self.prefix, "s")

    def group(self, name: str = "g") -> str:
        return f"{self.prefix}.{name}"

    def log(self, membership: Membership | None = None) -> KafkaLog:
        settings = self.kafka.settings()
        chosen = membership or self.membership
        return KafkaLog(settings, self.prefix, SystemClock(), SystemIds(), membership=chosen)

    def reader(
        self,
        stream: str = "s",
        group: str = "g",
        generation: int = 1,
        partitions: int = 1,
        membership: Membership | None = None,
    ) -> KafkaReader:
        self.make(partitions)

        def emit(event: str, fields: dict[str, Any]) -> None:
            self.events.append((event, fields))

        return self.log(membership).reader(stream, self.group(group), generation, emit)

    def writer(self, stream: str = "s", partitions: int = 1) -> KafkaWriter:
        self.make(partitions)
        return self.log().writer(stream)

    def history(self, stream: str = "s", group: str = "g", partitions: int = 1) -> KafkaHistory:
        self.make(partitions)
        return self.log().history(stream, self.group(group))

    def ledger(self, stream: str = "s", generation: int = 1) -> KafkaLedger:
        self.make()
        return self.log().ledger(stream, generation)

    def registry(self) -> KafkaRegistry:
        self.make()
        return self.log().registry()

    def transaction(self, records: Sequence[tuple[bytes, bytes | None]], *, commit: bool, partition: int = 0) -> None:
        """Let another program write to a partition of the changes in a transaction, and commit or abort it."""
        self.make()
        with_transaction(self.kafka, self.topic, records, commit=commit, partition=partition)


def with_transaction(
    kafka: Kafka,
    topic: str,
    records: Sequence[tuple[bytes, bytes | None]],
    *,
    commit: bool,
    partition: int = 0,
) -> None:
    """Write records in a transaction, and commit or abort it."""
    producer = opened_transaction(kafka, topic, records, partition=partition)
    if commit:
        producer.commit_transaction(20)
    else:
        producer.abort_transaction(20)


def opened_transaction(
    kafka: Kafka, topic: str, records: Sequence[tuple[bytes, bytes | None]], *, partition: int = 0
) -> Producer:
    """Write records in a transaction that stays open."""
    more: Mapping[str, Any] = {"transactional.id": fresh_name("transaction"), "retry.backoff.ms": 10}
    producer = Producer({**kafka.settings(), **more})
    producer.init_transactions(20)
    producer.begin_transaction()
    for key, value in records:
        producer.produce(topic, value, key, partition=partition)
    assert producer.flush(20) == 0
    return producer


class OnKafka(Contract):
    """What the contract asks of an adapter: fresh topics for each test, on the broker of the whole run."""

    patience_s = 20.0
    membership = Membership()
    changes: Mapping[str, str] = {}

    def reach(self, kafka: Kafka) -> Self:
        self.kafka = kafka
        self.admin = kafka.admin()
        self.prefixes: dict[Path, str] = {}
        return self

    def log(self, folder: Path) -> Logs:
        prefix = self.prefixes.setdefault(folder, fresh_name("contract"))
        return Logs(self.kafka, prefix, self.membership, **self.changes)

    def line(self, log: Log, count: int) -> list[KafkaReader]:
        assert isinstance(log, Logs)
        one_name = replace(self.membership, instance="worker-1")
        return [log.reader(membership=one_name) for _ in range(count)]

    async def gap(self, log: Log) -> None:
        assert isinstance(log, Logs)
        # What was aborted takes an offset, and so does the marker that says so.
        await asyncio.to_thread(log.transaction, [(b"k", b"aborted")], commit=False)

    async def settled(self, log: Log) -> None:
        assert isinstance(log, Logs)
        # A transaction is acknowledged before its markers are in the partitions.
        for topic in (log.receipts, log.dead):
            assert await asyncio.to_thread(soon, partial(is_settled, self.admin, topic))

    async def at_hand(self, reader: LogReader, records: int) -> None:
        assert isinstance(reader, KafkaReader)
        assert reader._thread is not None
        buffers = reader._thread._buffers
        assert await asyncio.to_thread(soon, lambda: sum(len(it.records) for it in buffers.values()) == records, 20)


def is_settled(admin: AdminClient, topic: str) -> bool:
    """Whether no transaction holds the end of a topic's first partition back."""
    ends = set()
    for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
        spec = {TopicPartition(topic, 0): OffsetSpec.latest()}
        (answer,) = admin.list_offsets(spec, isolation_level=level).values()
        ends.add(answer.result(10).offset)
    return len(ends) == 1
