"""Topics of one partition that are read as a whole: follow one to its end, and append what is to hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.cimpl import Message

from headwater.clock import Clock
from headwater.errors import Halt, Reject, Retry
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
    reading,
    translated,
)
from headwater.log.topics import NO_GROUP

_BATCH = 500
_STEP_S = 0.2

Headers = list[tuple[str, str | bytes | None]]
#: A record to be: key, value, headers.
Outgo = tuple[bytes | None, bytes | None, Headers]


class Follower:
    """Reads a topic's one partition from its beginning, ever further, and gives each record to `fold`, in order.

    What is followed is never trimmed: a hole at its beginning halts.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        clock: Clock,
        fold: Callable[[Message], None],
        *,
        in_transactions: bool = False,
    ) -> None:
        """`in_transactions`: what is under way when `catch_up` is called is waited for. An acknowledged transaction is
        under way too, until its marker is in the topic.
        """
        self._connection = connection
        self._topic = topic
        self._clock = clock
        self._fold = fold
        self._in_transactions = in_transactions
        self._trouble = Trouble()
        self._thread = OnThread("kafka-follower", self._trouble)
        self._consumer: Consumer | None = None
        self._next = 0

    def __repr__(self) -> str:
        return f"Follower({self._topic!r}, next {self._next})"

    async def catch_up(self, past: int = -1) -> None:
        """Return when everything that was committed to the topic before the call is folded, and the record at `past`:
        it may lie behind a transaction that is open still. Raise Retry when the brokers are away.
        """
        await self._thread.call(f"reading {self._topic}", lambda: self._to_the_end(past), self._topic)

    def _to_the_end(self, past: int) -> None:
        consumer = self._consumer
        if consumer is None:
            consumer = self._consumer = Consumer(reading(self._connection, self._trouble))
        low, end = bounds(consumer, TopicPartition(self._topic, 0), self._trouble, self._clock)
        if low > self._next:
            detail = f"the topic {self._topic} is trimmed to offset {low}, and needed from {self._next}"
            raise Halt("log-truncation-gap", detail, "It must keep everything: restore it, see `headwater topics plan`")
        end = max(end, past + 1)
        if self._next >= end and not self._in_transactions:
            return
        # Not assigned between two calls: a client that fetches in vain keeps itself and the broker busy. Paused, it
        # would need a second to go on.
        consumer.assign([TopicPartition(self._topic, 0, self._next)])
        try:
            self._read(consumer, end)
        finally:
            consumer.unassign()

    def _read(self, consumer: Consumer, end: int) -> None:
        deadline = self._clock.monotonic() + REQUEST_S
        is_known = not self._in_transactions
        while self._next < end or not is_known:
            for message in fetched(consumer, _BATCH, _STEP_S):
                self._take(message)
                deadline = self._clock.monotonic() + REQUEST_S
                if not is_known:
                    # The answer that brought this says too where the topic ends, open transactions included.
                    end = max(end, consumer.get_watermark_offsets(TopicPartition(self._topic, 0), cached=True)[1])
                    is_known = True
            if self._clock.monotonic() > deadline:
                self._trouble.check()
                raise Retry(KAFKA, self._trouble.cause(f"reading {self._topic} takes too long"))

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self._fold(message)
            self._next = offset_of(message) + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            self._next = max(self._next, offset_of(message))
        elif not error.retriable():
            raise translated(error, f"reading {self._topic}", self._topic, NO_GROUP)

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        await self._thread.close(self._leave)

    def _leave(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


class Appender:
    """Appends to topics, durably before it returns, without a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._trouble = Trouble()
        self._thread = OnThread("kafka-appender", self._trouble)
        self._producer: Producer | None = None

    async def append(self, topic: str, records: Sequence[Outgo]) -> int:
        """Append (key, value, headers) in order, each to the partition of its key. Return the last one's offset.

        Raise Retry when the brokers are away: then a beginning of them may have been appended. Raise Reject, with the
        index, when the topic takes no record so large: then the others may have been.
        """
        return await self._thread.call(f"writing to {topic}", lambda: self._write(topic, records), topic)

    def _write(self, topic: str, records: Sequence[Outgo]) -> int:
        producer = self._producer
        if producer is None:
            producer = self._producer = Producer(producing(self._connection, self._trouble))
        failed: list[tuple[int, KafkaError]] = []
        last = -1

        def delivered(index: int, error: KafkaError | None, message: Message) -> None:
            nonlocal last
            if error is not None:
                failed.append((index, error))
            elif index == len(records) - 1:
                last = offset_of(message)

        for index, (key, value, headers) in enumerate(records):
            send(producer, topic, value, key=key, headers=headers, on_delivery=partial(delivered, index))
        left = producer.flush(REQUEST_S)
        if failed or left:
            # What is still queued would be sent some time later, after its repeat: the next call has a new producer.
            producer.purge()
            self._producer = None
            self._trouble.check()
            if failed:
                # The brokers refuse a whole batch for one record that is too large: most likely its largest.
                index, cause = max(failed, key=lambda it: len(records[it[0]][1] or b""))
                error = translated(cause, f"writing to {topic}", topic)
                raise Reject(error.reason, index) if isinstance(error, Reject) else error
            raise Retry(KAFKA, self._trouble.cause(f"writing to {topic} takes too long"))
        return last

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        await self._thread.close(self._leave)

    def _leave(self) -> None:
        self._producer = None


def producing(connection: Connection, trouble: Trouble, **more: object) -> dict[str, object]:
    """Return the options of a producer: durable, in order, not twice, and keyed as every Java client keys."""
    fixed = {
        "enable.idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 5,
        "delivery.timeout.ms": int(REQUEST_S * 1000),
        "queue.buffering.max.messages": 100_000,
        "queue.buffering.max.kbytes": 65_536,
        # A topic says itself what is too large for it.
        "message.max.bytes": 64 << 20,
    }
    return {**fixed, **options(connection, trouble, **more)}


def send(
    producer: Producer,
    topic: str,
    value: bytes | None,
    *,
    key: bytes | None,
    headers: Headers,
    on_delivery: Callable[[KafkaError | None, Message], None] | None,
    partition: int = -1,
) -> None:
    """Hand one record to a producer, waiting while its queue is full."""
    while True:
        try:
            producer.produce(topic, value, key, partition=partition, headers=headers, on_delivery=on_delivery)
        except BufferError:
            producer.poll(_STEP_S)
        else:
            return
