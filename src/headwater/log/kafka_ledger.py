"""What was settled, read from the topics of receipts and of dead letters.

There is no index over receipts: what is asked of them is read from the first one on. Sums are kept, with a digest of
each receipt, 8 bytes, to count none twice: whoever asks for them again reads only what came since.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from confluent_kafka.cimpl import Message

from headwater.clock import Clock, Ids
from headwater.log.kafka_client import Connection
from headwater.log.kafka_follower import Appender, Follower, Headers
from headwater.log.kafka_history import KafkaHistory
from headwater.log.kafka_records import (
    CONTENT_TYPE,
    LetterEvent,
    Letters,
    connect_headers,
    decode_event,
    decode_receipt,
    encode_event,
    receipt_key,
)
from headwater.log.kafka_registry import KafkaRegistry
from headwater.log.kafka_sums import Read, Sums
from headwater.log.port import Totals
from headwater.log.rules import FRESH, first_day
from headwater.model.change import Record
from headwater.model.manifest import Outcome
from headwater.model.receipt import DeadLetter, DeadState, Receipt
from headwater.model.version import Version


class LetterBook:
    """The topic of a stream's dead letters, followed."""

    def __init__(self, connection: Connection, topic: str, clock: Clock) -> None:
        self._follower = Follower(connection, topic, clock, self._fold, in_transactions=True)
        self.topic = topic
        self.letters = Letters()

    def _fold(self, message: Message) -> None:
        self.letters.take(decode_event(message.value() or b""))

    async def catch_up(self, past: int = -1) -> None:
        """Learn of every event that the topic holds, and of the one at offset `past`."""
        await self._follower.catch_up(past)

    def record(self, event: LetterEvent, changes: str) -> tuple[bytes, bytes, Headers]:
        """Return an event's record. A letter's first event carries what Kafka Connect's dead letters carry."""
        first = event.outcome is Outcome.DEAD
        headers = connect_headers(changes, event) if first else [CONTENT_TYPE]
        return event.document.encode(), encode_event(event), headers

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        await self._follower.close()


class KafkaLedger:
    """A Ledger of one stream and index generation (`owner`)."""

    def __init__(
        self,
        receipts: KafkaHistory,
        book: LetterBook,
        registry: KafkaRegistry,
        appender: Appender,
        owner: tuple[str, int],
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._receipts = receipts
        self._book = book
        self._registry = registry
        self._appender = appender
        self._stream, self._generation = owner
        self._clock = clock
        self._ids = ids
        self._sums = Sums()

    def __repr__(self) -> str:
        return f"KafkaLedger({self._stream!r}, generation {self._generation})"

    async def receipts(self, document: str) -> list[Receipt]:
        key = receipt_key(document, await self._registry.secret(self._stream))
        found: dict[object, Receipt] = {}
        async for record in self._records():
            if record.key == key and (receipt := decode_receipt(record.value or b"", self._generation, document)):
                found.setdefault((receipt.version, receipt.place.partition, receipt.recipe, receipt.revision), receipt)
        return sorted(found.values(), key=lambda it: it.settled_us)

    async def freshness(self, last: int) -> list[tuple[int, int]]:
        newest: list[tuple[int, int, int]] = []
        for partition, marks in (await self._receipts.watermarks()).items():
            # The newest of all are among the newest of each partition: they are read from its end, in growing steps.
            found: list[tuple[int, int, int]] = []
            end, step = marks.high, _WINDOW * last
            while len(found) < last and end > marks.low:
                start = max(marks.low, end - step)
                found += [hop async for hop in self._searchable(partition, start, end)]
                end, step = start, 2 * step
            newest += sorted(found, reverse=True)[:last]
        return [(changed_us, applied_us) for _, changed_us, applied_us in sorted(newest, reverse=True)[:last]]

    async def _searchable(self, partition: int, start: int, end: int) -> AsyncIterator[tuple[int, int, int]]:
        """Yield when it was settled, changed and applied, of each receipt that made a change searchable."""
        async for record in self._receipts.read(partition, start, end):
            receipt = decode_receipt(record.value or b"", self._generation) if record.key else None
            if receipt and receipt.applied_us > 0 and receipt.outcome in FRESH:
                yield receipt.settled_us, receipt.changed_us, receipt.applied_us

    async def totals(self) -> Totals:
        sums = self._sums
        for partition, marks in (await self._receipts.watermarks()).items():
            start = sums.next(partition, marks.low)
            if start < marks.high:
                read = Read(self._generation)
                async for record in self._receipts.read(partition, start, marks.high):
                    read.take(record)
                sums.add(partition, marks.high, read)
        return sums.totals(first_day(self._clock.now_us()))

    async def _records(self) -> AsyncIterator[Record]:
        for partition, marks in (await self._receipts.watermarks()).items():
            async for record in self._receipts.read(partition, marks.low, marks.high):
                yield record

    async def dead(self, states: frozenset[DeadState]) -> list[DeadLetter]:
        await self._book.catch_up()
        return self._book.letters.of(self._generation, states)

    async def move(self, document: str, version: Version, expected: DeadState, state: DeadState) -> bool:
        writer = self._ids.identity()
        event = LetterEvent(
            generation=self._generation,
            document=document,
            version=str(version),
            time_us=self._clock.now_us(),
            expected=expected,
            state=state,
            writer=writer,
        )
        at = await self._appender.append(self._book.topic, [self._book.record(event, "")])
        await self._book.catch_up(past=at)
        return self._book.letters.won(writer)

    async def close(self) -> None:
        for part in (self._receipts, self._book, self._registry, self._appender):
            await part.close()


#: How many receipts are looked through at first for each one that is asked for: most are about freshness.
_WINDOW = 4
