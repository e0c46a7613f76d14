"""A topic without a group: what it is, how far it goes, and its records by range."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import msgspec
from confluent_kafka import (
    Consumer,
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
    bounds,
    fetched,
    offset_of,
    options,
    partition_of,
    reading,
    standing,
    translated,
)
from headwater.log.kafka_records import decode_caught
from headwater.log.port import Watermarks
from headwater.log.topics import NO_GROUP
from headwater.model.change import Record
from headwater.model.receipt import CaughtUp

T = TypeVar("T")

_Value = str | bytes | None

PAGE_RECORDS = 500
_STEP_S = 0.2


class _Reading(msgspec.Struct):
    """A range that is being read, and where the reading stands."""

    consumer: Consumer
    partition: int
    next: int
    end: int
    begun: bool = False


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
        self._member: Consumer | None = None  # one of them that asks for the group
        self._known: dict[int, tuple[int, int]] = {}  # partitions' bounds, as they were seen last

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
        # The group goes on meanwhile, and so does the end: read the other way round, it would lie behind the group.
        committed = self._committed(partitions) if self._group else {}
        high = self._offsets(partitions, OffsetSpec.latest())
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
        found = {at.partition: self._answer(future).offset for at, future in futures.items()}
        if unknown := sorted(partition for partition, offset in found.items() if offset < 0):
            # So answers a broker that has just become a partition's leader: no bound is known, and none may be made up.
            raise Retry(KAFKA, f"the bounds of partition {unknown[0]} of {self._topic} are not known yet")
        return found

    def _committed(self, partitions: list[TopicPartition]) -> dict[int, tuple[int, CaughtUp | None]]:
        if self._member is None:
            self._member = Consumer(reading(self._connection, self._trouble, group_id=self._group))
            self._open.append(self._member)
        found = standing(self._member, partitions, self._trouble, self._clock)
        return {at: (it.offset, decode_caught(it.metadata)) for at, it in found.items()}

    def _life(self) -> float | None:
        resource = ConfigResource(ResourceType.TOPIC, self._topic)
        (future,) = self._client().describe_configs([resource], request_timeout=REQUEST_S).values()
        found: Any = self._answer(future)
        if "compact" not in found["cleanup.policy"].value:
            return None
        return int(found["delete.retention.ms"].value) / 1000

    # --- reading

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        found = await self._thread.call("reading", lambda: self._begin(partition, start, end), self._topic)
        try:
            while found.next < found.end:
                page = await self._thread.call("reading", partial(self._page, found), self._topic)
                for record in page:
                    if record.offset >= end:
                        return
                    yield record
        finally:
            with suppress(RuntimeError):  # the history was closed before it noticed that the reading was given up
                await self._thread.call("reading", partial(self._end, found.consumer), self._topic)

    def _begin(self, partition: int, start: int, end: int) -> _Reading:
        # librdkafka fetches ahead of what is asked for; as much of it as this is held. All that is asked for is there:
        # a fetch that waits for more would only hold up the next reading.
        ahead = {"queued.max.messages.kbytes": 8192, "queued.min.messages": 10_000, "fetch.wait.max.ms": 1}
        if self._idle:
            consumer = self._idle.pop()
        else:
            consumer = Consumer(reading(self._connection, self._trouble) | ahead)
            self._open.append(consumer)
        low, high = self._known.get(partition, (0, 0))
        if not low <= start < end <= high:
            # Looking takes ten times as long as reading one record, and what was there is there still, mostly.
            low, high = self._look_at(consumer, partition)
        begun = _Reading(consumer, partition, max(start, low), min(end, high))
        if begun.next < begun.end:
            consumer.assign([TopicPartition(self._topic, partition, begun.next)])
        return begun

    def _look_at(self, consumer: Consumer, partition: int) -> tuple[int, int]:
        try:
            found = bounds(consumer, TopicPartition(self._topic, partition), self._trouble, self._clock)
        except KafkaException as raised:
            if raised.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                raise
            found = (0, 0)
        self._known[partition] = found
        return found

    def _end(self, consumer: Consumer) -> None:
        consumer.unassign()
        self._idle.append(consumer)

    def _page(self, under_way: _Reading) -> list[Record]:
        """Return the next records."""
        deadline = self._clock.monotonic() + REQUEST_S
        while True:
            page: list[Record] = []
            reached = under_way.next
            limit = min(PAGE_RECORDS, under_way.end - reached)
            for message in fetched(under_way.consumer, limit, _STEP_S):
                error = message.error()
                if error is None:
                    page.append(record_of(message))
                    reached = page[-1].offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    reached = max(reached, offset_of(message))
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    reached = self._behind_the_gap(under_way)
                elif not error.retriable():
                    raise translated(error, "reading", self._topic, NO_GROUP)
            if reached > under_way.next:
                under_way.next, under_way.begun = reached, True
                return page
            if self._clock.monotonic() > deadline:
                self._trouble.check()
                raise Retry(KAFKA, self._trouble.cause("reading takes too long"))

    def _behind_the_gap(self, under_way: _Reading) -> int:
        """Begin where the log begins by now. Halt when the gap would be in the middle of what is handed out."""
        partition = under_way.partition
        if under_way.begun:
            detail = f"{self._topic}, partition {partition}: offset {under_way.next} is no longer there"
            raise Halt("log-truncation-gap", detail, "The topic was trimmed during the reading: begin again")
        under_way.consumer.unassign()
        start = min(self._look_at(under_way.consumer, partition)[0], under_way.end)
        under_way.consumer.assign([TopicPartition(self._topic, partition, start)])
        return start

    async def close(self) -> None:
        await self._thread.close(self._leave)

    def _leave(self) -> None:
        while self._open:
            self._open.pop().close()
        self._member = None
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
