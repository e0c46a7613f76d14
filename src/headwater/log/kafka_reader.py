"""Reading a topic for a group, and settling what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import Consumer

from headwater.clock import Clock, Ids
from headwater.errors import Lost
from headwater.log.kafka_client import Connection, Trouble, reading
from headwater.log.kafka_intake import ConsumerThread, News, Statistics
from headwater.log.kafka_ledger import LetterBook
from headwater.log.kafka_records import (
    CONTENT_TYPE,
    LetterKey,
    encode_receipt,
    encode_usage,
    of_receipt,
    receipt_key,
)
from headwater.log.kafka_registry import KafkaRegistry
from headwater.log.kafka_settling import Entry, Mode, Outdated, Settler
from headwater.log.port import Batch
from headwater.model.manifest import Outcome
from headwater.model.receipt import Settlement, Usage
from headwater.observability.signals import Emit, Event


@dataclass(frozen=True)
class Membership:
    """How a reader belongs to its group, and how it settles. `instance` makes the membership static."""

    rebalance: Literal["cooperative", "consumer"] = "cooperative"
    instance: str | None = None
    session_timeout_s: float = 45.0
    receipts: Mode = "transactional"


@dataclass(frozen=True)
class Names:
    """The topics and names that a reader works with."""

    stream: str
    generation: int
    changes: str
    receipts: str
    group: str
    transactional_prefix: str


class KafkaReader:
    """A LogReader. It joins the group with its first poll."""

    def __init__(
        self,
        connection: Connection,
        names: Names,
        membership: Membership,
        book: LetterBook,
        registry: KafkaRegistry,
        machine: tuple[Clock, Ids, Emit],
    ) -> None:
        self._connection = connection
        self._names = names
        self._membership = membership
        self._book = book
        self._registry = registry
        self._clock, self._ids, self._emit = machine
        member = membership.instance or self._ids.identity()
        transactional_id = f"{names.transactional_prefix}{member}"
        self._settler = Settler(connection, names.changes, membership.receipts, transactional_id)
        self._thread: ConsumerThread | None = None
        self._arrived = asyncio.Event()
        self._committed: dict[int, int] = {}
        self._news: News | None = None
        self._known: set[LetterKey] = set()  # letters that this reader opened itself
        self._last: tuple[Settlement, list[Entry]] | None = None
        self._handing_over = False
        self._secret = b""
        self._closed = False

    def __repr__(self) -> str:
        return f"KafkaReader({self._names.changes!r}, {self._names.group!r})"

    def _make(self, trouble: Trouble, measure: Callable[[str], None]) -> Consumer:
        names, membership = self._names, self._membership
        settings: dict[str, Any] = {
            "group.id": names.group,
            "max.poll.interval.ms": 300_000,
            "queued.max.messages.kbytes": 8192,
            "queued.min.messages": 20_000,
            "fetch.wait.max.ms": 100,
            "statistics.interval.ms": 1_000,
            "stats_cb": measure,
        }
        if membership.rebalance == "consumer":
            settings["group.protocol"] = "consumer"
        else:
            settings["partition.assignment.strategy"] = "cooperative-sticky"
            settings["session.timeout.ms"] = int(membership.session_timeout_s * 1000)
            settings["heartbeat.interval.ms"] = max(100, min(3000, int(membership.session_timeout_s * 1000 / 4)))
        if membership.instance:
            settings["group.instance.id"] = membership.instance
        return Consumer(reading(self._connection, trouble) | settings)

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        thread = self._thread or await self._join()
        if self._handing_over:
            self._handing_over = False
            thread.hand_over()
        deadline = self._clock.monotonic() + wait_s
        while not self._closed:  # `close` may come while this waits
            self._arrived.clear()
            thread.check()
            batch = await self._look(thread, max_records, max_bytes)
            left_s = deadline - self._clock.monotonic()
            if batch is not None or left_s <= 0:
                return batch or Batch()
            try:
                await asyncio.wait_for(self._arrived.wait(), left_s)
            except TimeoutError:
                continue
        return Batch()

    async def _join(self) -> ConsumerThread:
        self._secret = await self._registry.secret(self._names.stream)
        await self._book.catch_up()
        loop = asyncio.get_running_loop()
        wake = _from_thread(loop, self._arrived.set)
        thread = ConsumerThread(self._make, self._names.changes, self._clock, wake, self._tell)
        self._thread = thread
        thread.start()
        return thread

    async def _look(self, thread: ConsumerThread, max_records: int, max_bytes: int) -> Batch | None:
        self._news = news = self._news or thread.news()
        if news is not None:
            # A letter that the last owner opened must be known before any receipt of its change is written.
            await self._book.catch_up()
            self._news = None
            self._handing_over = bool(news.revoked)
            self._committed = {at: it for at, it in self._committed.items() if at not in news.revoked}
            self._committed.update(news.assigned)
            fields = {"assigned": sorted(news.assigned), "revoked": sorted(news.revoked)}
            self._emit(Event.PARTITIONS_MOVED, fields)
            return Batch(assigned=news.assigned, revoked=news.revoked)
        records, ends = thread.take(max_records, max_bytes)
        return Batch(records=records, ends=ends) if records or ends else None

    async def settle(self, settlement: Settlement) -> None:
        thread = self._thread
        held = thread.holds(settlement.frontier) if thread else frozenset()
        if lost := frozenset(settlement.frontier) - held:
            raise Lost(lost)
        offsets = {at: it for at, it in settlement.frontier.items() if it > self._committed.get(at, -1)}
        if self._last is None or self._last[0] is not settlement:
            # A repeat after a doubtful end writes the very same records, or what it cost would count twice.
            self._last = (settlement, self._entries(settlement))
        entries = self._last[1]
        if thread is None or not (entries or offsets):
            return
        try:
            await self._settler.settle(thread, entries, offsets)
        except Outdated as outdated:
            self._emit(Event.SETTLEMENT_FENCED, {"partitions": sorted(settlement.frontier)})
            thread.reclaim(settlement.frontier)
            raise Lost(frozenset(settlement.frontier)) from outdated
        for partition, offset in offsets.items():
            if partition in self._committed:
                self._committed[partition] = max(offset, self._committed[partition])

    def _entries(self, settlement: Settlement) -> list[Entry]:
        names, headers = self._names, [CONTENT_TYPE]
        entries = [
            Entry(
                names.receipts,
                receipt.place.partition,
                receipt_key(receipt.document, self._secret),
                encode_receipt(receipt, names.generation),
                headers,
            )
            for receipt in settlement.receipts
        ]
        if settlement.usage != Usage():
            value = encode_usage(self._ids.identity(), settlement.usage, names.generation)
            entries.append(Entry(names.receipts, 0, None, value, headers))
        now_us = self._clock.now_us()
        for receipt in settlement.receipts:
            event = of_receipt(receipt, names.generation, now_us)
            letter = (names.generation, event.document, event.version)
            if receipt.outcome is Outcome.DEAD:
                self._known.add(letter)
            if letter in self._known or letter in self._book.letters:
                key, value, event_headers = self._book.record(event, names.changes)
                entries.append(Entry(self._book.topic, 0, key, value, event_headers))
        return entries

    def _tell(self, statistics: Statistics) -> None:
        """Tell of the client's statistics. Called on its thread."""
        self._emit(Event.LOG_MEASURED, statistics._asdict())

    async def close(self) -> None:
        self._closed = True
        self._arrived.set()
        thread = self._thread
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, thread.close)
        await self._settler.close()
        await self._book.close()
        await self._registry.close()


def _from_thread(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], None]:
    """Return what calls on the loop from any thread; after the loop's end it does nothing."""

    def notify() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(call)

    return notify
