"""Settling on Kafka: receipts, events about dead letters, and offsets.

`transactional`: all of it in one transaction, fenced by the group's own generation and by the transactional id. No
client of this language speaks the newest transaction protocol (KIP-890), so nothing rests on it: whatever a transaction
does, the index decides by its own fence what is applied, and a receipt that comes twice counts once. `plain`: receipts
first, offsets after them, for brokers without transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal, Protocol

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.cimpl import Message

from headwater.errors import Retry
from headwater.log.kafka_client import KAFKA, OUTDATED_MEMBER, REQUEST_S, Connection, OnThread, Trouble
from headwater.log.kafka_follower import Headers, producing, send

#: A settlement that takes longer hangs: librdkafka 2.16 may wait for ever for a group's coordinator that went away, in
#: `send_offsets_to_transaction`, whatever time-out it was given. It is given up with its client, and begun anew.
STUCK_S = 4 * REQUEST_S

_Told = Callable[[KafkaError | None, Message], None]
Mode = Literal["transactional", "plain"]

#: Another producer has this one's transactional id, or the coordinator gave this one up.
_FENCED = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.UNKNOWN_PRODUCER_ID,
    }
)


class Outdated(Exception):
    """The group no longer counts this reader as the partitions' owner. Nothing was committed."""


class Member(Protocol):
    """A consumer of the group, on whose behalf offsets are committed: as long as the partitions are its own."""

    def commit(self, places: list[TopicPartition]) -> list[TopicPartition] | None: ...

    def membership(self, *, newer: bool = False) -> object | None: ...


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One record of a settlement. Partition -1 is that of the key."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: Headers


class Settler:
    """Writes settlements, one after another, on a thread of its own."""

    def __init__(self, connection: Connection, topic: str, mode: Mode, transactional_id: str) -> None:
        self._topic = topic
        self._make = partial(_Writing, connection, mode, transactional_id)
        self._writing = self._make()

    async def settle(
        self,
        member: Member | None,
        entries: Sequence[Entry],
        offsets: Mapping[int, int],
        notes: Mapping[int, str] | None = None,
    ) -> None:
        """Write entries and offsets, durably, with a note beside a partition's offset. Without offsets no membership is
        needed. Raise Outdated; Retry when the brokers are away: then it may or may not have been written.
        """
        beside = notes or {}
        places = [TopicPartition(self._topic, at, it, metadata=beside.get(at, "")) for at, it in offsets.items()]
        writing = self._writing
        topics = sorted({it.topic for it in entries} or {self._topic})
        call = writing.thread.call("settling", lambda: writing.write(member, entries, places), " or ".join(topics))
        try:
            await asyncio.wait_for(call, STUCK_S)
        except TimeoutError:
            writing.abandon()
            self._writing = self._make()
            raise Retry(KAFKA, writing.trouble.cause("settling takes too long")) from None

    def prepare(self) -> None:
        """Begin with what the first settlement needs: with transactions, finding their coordinator takes its time."""
        self._writing.thread.begin(self._writing.prepare)

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        writing = self._writing
        await writing.thread.close(writing.leave)


class _Writing:
    """The work of a settler on its thread, with one producer at a time. All but `abandon` is called on that thread."""

    def __init__(self, connection: Connection, mode: Mode, transactional_id: str) -> None:
        self._connection = connection
        self._id = transactional_id
        self.trouble = Trouble()
        self.thread = OnThread("kafka-settling", self.trouble)
        self.write = self._transact if mode == "transactional" else self._one_by_one
        self._transacts = mode == "transactional"
        self._producer: Producer | None = None
        self._abandoned = False
        self._failed: list[KafkaError] = []
        self._counts: dict[str, int] = {}  # partitions of the topics written to: Kafka never takes one away

    def abandon(self) -> None:
        """Begin nothing more, should the call that is under way ever end: another one has its transactional id then."""
        self._abandoned = True
        self.thread.abandon()

    def leave(self) -> None:
        """Let go of the connection."""
        self._producer = None

    def prepare(self) -> None:
        """Do what takes its time before the first transaction."""
        if self._transacts:
            self._opened()

    # --- in one transaction

    def _transact(self, member: Member | None, entries: Sequence[Entry], places: list[TopicPartition]) -> None:
        def attempt(metadata: object | None) -> None:
            self._in_one(entries, places, metadata)

        _fenced(member, places, attempt)

    def _in_one(self, entries: Sequence[Entry], places: list[TopicPartition], metadata: object | None) -> None:
        producer = self._opened()
        try:
            producer.begin_transaction()
            self._send(producer, entries)  # what cannot be delivered fails the commit
            if places:
                producer.send_offsets_to_transaction(places, metadata, REQUEST_S)
            producer.commit_transaction(REQUEST_S)
        except KafkaException as raised:
            error = raised.args[0]
            if error.txn_requires_abort():
                self._abort(producer)
            else:
                # It may have been committed or not: only a new producer with the same id ends what is left open.
                self._drop(producer)
            if error.code() in OUTDATED_MEMBER or error.code() in _FENCED:
                raise Outdated from raised
            if error.fatal():
                raise Retry(KAFKA, error.str()) from raised
            raise

    def _opened(self) -> Producer:
        if self._abandoned:
            raise Outdated
        if self._producer is None:
            # A worker that dies in the middle holds readers up for this long.
            more = {"transactional.id": self._id, "transaction.timeout.ms": 15_000}
            # The next transaction begins before the brokers have done with the last one: they say so, and once more in
            # a moment it works. librdkafka would wait ten times as long.
            soon = {"retry.backoff.ms": 10}
            producer = Producer({**soon, **producing(self._connection, self.trouble), **more})
            producer.init_transactions(2 * REQUEST_S)
            self._producer = producer
        return self._producer

    def _abort(self, producer: Producer) -> None:
        try:
            producer.abort_transaction(REQUEST_S)
        except KafkaException:
            self._drop(producer)

    def _drop(self, producer: Producer) -> None:
        producer.purge()
        self._producer = None

    # --- one after the other

    def _one_by_one(self, member: Member | None, entries: Sequence[Entry], places: list[TopicPartition]) -> None:
        if places and (member is None or member.membership() is None):
            raise Outdated
        if entries:
            self._flush(entries)
        if places:
            _fenced(member, places, lambda _: _commit(member, places))

    def _flush(self, entries: Sequence[Entry]) -> None:
        producer = self._producer
        if producer is None:
            producer = self._producer = Producer(producing(self._connection, self.trouble))
        self._failed.clear()
        self._send(producer, entries, self._delivered)
        left = producer.flush(REQUEST_S)
        if self._failed or left:
            self._drop(producer)
            if self._failed:
                raise KafkaException(self._failed[0])
            raise Retry(KAFKA, self.trouble.cause("settling takes too long"))

    def _send(self, producer: Producer, entries: Sequence[Entry], told: _Told | None = None) -> None:
        for it in entries:
            partition = self._within(producer, it.topic, it.partition) if it.partition > 0 else it.partition
            send(producer, it.topic, it.value, key=it.key, headers=it.headers, on_delivery=told, partition=partition)

    def _within(self, producer: Producer, topic: str, partition: int) -> int:
        """Return a partition that the topic has.

        The changes may have been given more partitions, by whoever owns their topic, while the receipts have as many as
        before. A receipt says itself which partition's change it is about, so where it lies is a matter of load.
        """
        if topic not in self._counts:
            found = producer.list_topics(topic, timeout=REQUEST_S).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            self._counts[topic] = len(found.partitions)
        return partition % self._counts[topic]

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append(error)


def _fenced(member: Member | None, places: Sequence[TopicPartition], attempt: Callable[[object | None], None]) -> None:
    """Let `attempt` commit these places as a member of the group. Raise Outdated.

    A rebalance that leaves the partitions here changes the group's generation all the same: hence a second attempt.
    """
    if not places:
        attempt(None)
        return
    for newer in (False, True):
        metadata = member.membership(newer=newer) if member else None
        if metadata is None:
            raise Outdated
        try:
            attempt(metadata)
        except Outdated:
            if newer:
                raise
        else:
            return


#: A consumer whose membership is beyond repair says only this.
_EXPELLED = OUTDATED_MEMBER | {KafkaError._FATAL}


def _commit(member: Member | None, places: list[TopicPartition]) -> None:
    try:
        answers = member.commit(places) if member else None
    except RuntimeError as error:  # the consumer was closed
        raise Outdated from error
    except KafkaException as raised:
        if raised.args[0].code() in _EXPELLED:
            raise Outdated from raised
        raise
    if answers is None:
        raise Outdated
    for answer in answers:
        if answer.error is not None:
            if answer.error.code() in _EXPELLED:
                raise Outdated
            raise KafkaException(answer.error)
