"""The log on Kafka: makes readers, writers and the rest. Holds nothing open itself."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.clock import Clock, Ids
from headwater.log.kafka_client import Connection
from headwater.log.kafka_follower import Appender
from headwater.log.kafka_history import KafkaHistory
from headwater.log.kafka_ledger import KafkaLedger, LetterBook
from headwater.log.kafka_reader import KafkaReader, Membership, Names
from headwater.log.kafka_registry import KafkaRegistry
from headwater.log.kafka_shares import KafkaShares
from headwater.log.kafka_writer import KafkaWriter
from headwater.log.topics import (
    changes_topic,
    control_topic,
    dead_topic,
    positions_topic,
    receipts_topic,
    transactional_prefix,
)
from headwater.observability.signals import Emit


class KafkaLog:
    """One cluster's log. `prefix` begins all names of ours; `topics` gives the topic of a stream that reads another
    system's.
    """

    def __init__(
        self,
        connection: Connection,
        prefix: str,
        clock: Clock,
        ids: Ids,
        *,
        membership: Membership | None = None,
        topics: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self._prefix = prefix
        self._clock = clock
        self._ids = ids
        self._membership = membership or Membership()
        self._topics = topics or {}

    def __repr__(self) -> str:
        return f"KafkaLog({self._connection.get('bootstrap.servers')!r}, {self._prefix!r})"

    def changes(self, stream: str) -> str:
        """Return the topic of a stream's changes."""
        return self._topics.get(stream) or changes_topic(self._prefix, stream)

    def reader(self, stream: str, group: str, generation: int, emit: Emit) -> KafkaReader:
        """Return a new reader of a group."""
        names = Names(
            stream=stream,
            generation=generation,
            changes=self.changes(stream),
            receipts=receipts_topic(self._prefix, stream),
            group=group,
            transactional_prefix=transactional_prefix(self._prefix, stream),
        )
        machine = (self._clock, self._ids, emit)
        return KafkaReader(self._connection, names, self._membership, self._book(stream), self.registry(), machine)

    def writer(self, stream: str) -> KafkaWriter:
        """Return a new writer."""
        positions = positions_topic(self._prefix, stream)
        return KafkaWriter(self._connection, self.changes(stream), positions, self._clock, self._ids)

    def history(self, stream: str, group: str) -> KafkaHistory:
        """Return a stream's history; `group` is the one whose committed offsets it tells."""
        return KafkaHistory(self._connection, self.changes(stream), self._clock, group)

    def ledger(self, stream: str, generation: int) -> KafkaLedger:
        """Return what was settled in one index generation."""
        receipts = KafkaHistory(self._connection, receipts_topic(self._prefix, stream), self._clock)
        return KafkaLedger(
            receipts,
            self._book(stream),
            self.registry(),
            Appender(self._connection),
            (stream, generation),
            self._clock,
            self._ids,
        )

    def registry(self) -> KafkaRegistry:
        """Return the registry of all streams."""
        return KafkaRegistry(self._connection, control_topic(self._prefix), self._clock, self._ids)

    def shares(self) -> KafkaShares:
        """Return how accounts are divided between the workers of this log."""
        return KafkaShares(self._connection, control_topic(self._prefix), self._clock, self._ids)

    def _book(self, stream: str) -> LetterBook:
        return LetterBook(self._connection, dead_topic(self._prefix, stream), self._clock)
