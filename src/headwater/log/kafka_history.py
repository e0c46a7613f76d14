"""A topic without a group: what it is, how far it goes, and its records by range."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType, TopicDescription
from confluent_kafka.cimpl import Message

from headwater.clock import Clock
from headwater.errors import Halt, Retry
from headwater.log.kafka_client import (
    KAFKA,
    REQUEST_S,
    Connection,
    OnThread,
    Trouble,
    fetched,
    offset_of,
    options,
    partition_of,
    reading,
    translated,
)
from headwater.log.kafka_records import decode_caught
from headwater.log.port import Watermarks
from headwater.model.change import Record
from headwater.model.receipt import CaughtUp

T = TypeVar("T")

_Value = str | bytes | None

PAGE_RECORDS = 500
_STEP_S = 0.2


class KafkaHistory:
    """A LogHistory of one topic. `group` is the one whose committed offsets it tells; without one, none are."""

    def __init__(self, connection: Connection, topic: str, clock: Clock, group: str = "") -> None:
        self._connection = connection
        self._topic = topic
        self._group = group
        self._clock = clock
        self._trouble = Trouble()
        self._thread = OnThread("kafka-history", self._trouble)
        self._admin: AdminClient | None = None
        self._open: list[Consumer] = []
        self._idle: list[Consumer] = []  # those of them that read nothing now

    def __repr__(self) -> str:
        return f"KafkaHistory({self._topic!r})"

    async def identity(self) -> str:
        return str((await self._thread.call("looking at the topic", self._describe, self._topic)).topic_id)

    async def watermarks(self) -> dict[int, Watermarks]:
        return await self._thread.call("looking at the topic", self._look, self._topic)

    async def marker_life_s(self) -> float | None:
        return await self._thread.call("looking at the topic's settings", self._life, self._topic)

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(options(self._connection, self._trouble))
        self._admin.poll(0)
        return self._admin

    def _answer(self, future: Future[T]) -> T:
        """Wait for the brokers' answer, and hear meanwhile what the client has to say of its trouble."""
        deadline = self._clock.monotonic() + REQUEST_S
        while True:
            try:
                return future.result(_STEP_S)
            except TimeoutError:
                self._client()
                self._trouble.check()
                if self._clock.monotonic() > deadline:
                    raise Retry(KAFKA, self._trouble.cause("no answer")) from None

    def _describe(self) -> TopicDescription:
        (future,) = self._client().describe_topics(TopicCollection([self._topic]), request_timeout=REQUEST_S).values()
        found: TopicDescription = self._answer(future)
        return found

    def _look(self) -> dict[int, Watermarks]:
        partitions = [TopicPartition(self._topic, it.id) for it in self._describe().partitions]
        low = self._offsets(partitions, OffsetSpec.earliest())
        high = self._offsets(partitions, OffsetSpec.latest())
        committed = self._committed(partitions) if self._group else {}
        nowhere = (None, None)
        marks = {}
        for at in sorted(low):
            offset, caught = committed.get(at, nowhere)
            marks[at] = Watermarks(low[at], high[at], low[at] if offset is None else offset, caught)
        return marks

    def _offsets(self, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[int, int]:
        futures = self._client().list_offsets(
            dict.fromkeys(partitions, spec), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_S
        )
        return {at.partition: self._answer(future).offset for at, future in futures.items()}

    def _committed(self, partitions: list[TopicPartition]) -> dict[int, tuple[int, CaughtUp | None]]:
        wanted = ConsumerGroupTopicPartitions(self._group, partitions)
        (future,) = (
            self._client()
            .list_consumer_group_offsets([wanted], require_stable=True, request_timeout=REQUEST_S)
            .values()
        )
        found: Any = self._answer(future)
        for it in found.topic_partitions:
            if it.error is not None:
                raise KafkaException(it.error)
        return {
            it.partition: (it.offset, decode_caught(it.metadata)) for it in found.topic_partitions if it.offset >= 0
        }

    def _life(self) -> float | None:
        resource = ConfigResource(ResourceType.TOPIC, self._topic)
        (future,) = self._client().describe_configs([resource], request_timeout=REQUEST_S).values()
        found: Any = self._answer(future)
        if "compact" not in found["cleanup.policy"].value:
            return None
        return int(found["delete.retention.ms"].value) / 1000

    # --- reading

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        marks = (await self.watermarks()).get(partition)
        if marks is None:
            return
        start, end = max(start, marks.low), min(end, marks.high)
        if start >= end:
            return
        consumer = await self._thread.call("reading", partial(self._begin, partition, start), self._topic)
        try:
            while start < end:
                page, start = await self._thread.call("reading", partial(self._page, consumer, start), self._topic)
                for record in page:
                    if record.offset >= end:
                        return
                    yield record
        finally:
            with suppress(RuntimeError):  # the history was closed before it noticed that the reading was given up
                await self._thread.call("reading", partial(self._end, consumer), self._topic)

    def _begin(self, partition: int, start: int) -> Consumer:
        # librdkafka fetches ahead of what is asked for; as much of it as this is held.
        ahead = {"queued.max.messages.kbytes": 8192, "queued.min.messages": 10_000}
        if self._idle:
            consumer = self._idle.pop()
        else:
            consumer = Consumer(reading(self._connection, self._trouble) | ahead)
            self._open.append(consumer)
        consumer.assign([TopicPartition(self._topic, partition, start)])
        return consumer

    def _end(self, consumer: Consumer) -> None:
        consumer.unassign()
        self._idle.append(consumer)

    def _page(self, consumer: Consumer, start: int) -> tuple[list[Record], int]:
        """Return the next records, and where the reading stands then."""
        deadline = self._clock.monotonic() + REQUEST_S
        while True:
            page: list[Record] = []
            reached = start
            for message in fetched(consumer, PAGE_RECORDS, _STEP_S):
                error = message.error()
                if error is None:
                    page.append(record_of(message))
                    reached = page[-1].offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    reached = max(reached, offset_of(message))
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    detail = f"{self._topic}, partition {message.partition()}: offset {reached} is no longer there"
                    raise Halt("log-truncation-gap", detail, "The topic was trimmed during the reading: begin again")
                elif not error.retriable():
                    raise translated(error, "reading", self._topic)
            if reached > start:
                return page, reached
            if self._clock.monotonic() > deadline:
                self._trouble.check()
                raise Retry(KAFKA, self._trouble.cause("reading takes too long"))

    async def close(self) -> None:
        await self._thread.close(self._leave)

    def _leave(self) -> None:
        while self._open:
            self._open.pop().close()
        self._admin = None


def record_of(message: Message) -> Record:
    """Return a message as a record. A null key is an empty one: neither is a document's id."""
    headers = message.headers()
    return Record(
        partition_of(message),
        offset_of(message),
        message.key() or b"",
        message.value(),
        message.timestamp()[1] * 1000,
        tuple((name, _bytes(value)) for name, value in _pairs(headers)) if headers else (),
    )


def _pairs(headers: Mapping[str, _Value] | Sequence[tuple[str, _Value]]) -> Iterable[tuple[str, _Value]]:
    """Return headers one by one. The client promises either shape, and always gives pairs."""
    return headers.items() if isinstance(headers, Mapping) else headers


def _bytes(value: str | bytes | None) -> bytes:
    """Return a header's value; one without a value is an empty one."""
    return value.encode() if isinstance(value, str) else value or b""
