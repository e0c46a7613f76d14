"""Reading a topic for a group, and settling what was done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, ParamSpec

import msgspec
from confluent_kafka import Consumer

from headwater.clock import Clock, Ids
from headwater.errors import Lost
from headwater.log.codecs.records import TRACE_HEADER
from headwater.log.kafka_client import Connection, Trouble, reading
from headwater.log.kafka_intake import ConsumerThread, Hold, News
from headwater.log.kafka_ledger import LetterBook
from headwater.log.kafka_records import (
    CONTENT_TYPE,
    LetterEvent,
    LetterKey,
    encode_caught,
    encode_receipt,
    encode_usage,
    of_receipt,
    receipt_key,
    settlement_name,
)
from headwater.log.kafka_registry import KafkaRegistry
from headwater.log.kafka_settling import Entry, Mode, Outdated, Settler
from headwater.log.kafka_statistics import Statistics
from headwater.log.port import Batch
from headwater.log.rules import FRESH, WAITING, closes
from headwater.model.manifest import Outcome
from headwater.model.receipt import Receipt, Settlement, Usage
from headwater.model.version import Version
from headwater.observability.signals import Emit, Event

P = ParamSpec("P")


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
        self._joining = asyncio.Lock()
        self._news: News | None = None
        self._known: set[LetterKey] = set()  # letters that this reader opened itself
        self._waiting: dict[str, set[Version]] = {}  # by document, the letters that a newer version would close
        self._overtaken: set[tuple[str, Version]] = set()  # those that the settlement under way closes
        self._last: tuple[Settlement, list[Entry]] | None = None
        self._handing_over = 0  # the number of the news that the next poll hands over
        self._secret = b""
        self._epoch = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"KafkaReader({self._names.changes!r}, {self._names.group!r})"

    def _make(self, trouble: Trouble, measure: Callable[[str], None]) -> Consumer:
        names, membership = self._names, self._membership
        settings: dict[str, Any] = {
            "group.id": names.group,
            "max.poll.interval.ms": max(300_000, int(membership.session_timeout_s * 1000)),
            "queued.max.messages.kbytes": 8192,
            # Whenever that much is there, the client would fetch nothing for a whole second.
            "fetch.queue.backoff.ms": 10,
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
            # Each step of a rebalance waits for a heartbeat, and a partition that moves has no reader meanwhile.
            settings["heartbeat.interval.ms"] = max(100, min(1000, int(membership.session_timeout_s * 1000 / 4)))
        if membership.instance:
            settings["group.instance.id"] = f"{membership.instance}.{self._epoch}"
        return Consumer(reading(self._connection, trouble) | settings)

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        thread = await self._join()
        if thread is None:
            return Batch()
        if self._handing_over:
            thread.hand_over(self._handing_over)
            self._handing_over = 0
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

    async def _join(self) -> ConsumerThread | None:
        """Return the thread, which has been started. None: the reader is closed."""
        async with self._joining:
            if self._closed:
                return None
            if self._thread is None:
                await self._prepare()
                loop = asyncio.get_running_loop()
                wake, tell = _from_thread(loop, self._arrived.set), _from_thread(loop, self._tell)
                self._thread = ConsumerThread(self._make, self._names.changes, self._clock, wake, tell)
                self._thread.start()
                self._settler.prepare()
            return self._thread

    async def _prepare(self) -> None:
        """Learn what settling needs to know, once."""
        if not self._secret:
            await self._learn_letters()
            self._secret = await self._registry.secret(self._names.stream)
            epochs = (await self._registry.read(self._names.stream)).epochs
            # A member that comes back under its name is given what it had, so partitions that were added meanwhile
            # would be nobody's: in each log epoch it has another name.
            self._epoch = epochs[-1].number if epochs else 0

    async def _look(self, thread: ConsumerThread, max_records: int, max_bytes: int) -> Batch | None:
        self._news = news = self._news or thread.news()
        if news is not None:
            # A letter that the last owner opened must be known before any receipt of its change is written.
            await self._learn_letters()
            self._news = None
            self._handing_over = news.number if news.revoked else 0
            self._committed.update(news.assigned)
            fields = {"assigned": sorted(news.assigned), "revoked": sorted(news.revoked)}
            self._emit(Event.PARTITIONS_MOVED, fields)
            return Batch(assigned=news.assigned, revoked=news.revoked)
        records, ends = thread.take(max_records, max_bytes)
        return Batch(records=records, ends=ends) if records or ends else None

    async def settle(self, settlement: Settlement) -> None:
        await self._prepare()
        thread = self._thread
        hold = self._hold(settlement)
        if self._last is None or self._last[0] is not settlement:
            # A repeat after a doubtful end writes the very same records, or what it cost would count twice.
            self._overtaken = set()
            self._last = (settlement, self._entries(settlement))
        entries = self._last[1]
        known = self._committed
        # The group's fence is about offsets: with records to write, they name every partition, also where none moves.
        named = settlement.caught.keys()
        frontier = settlement.frontier.items()
        offsets = {at: max(it, known[at]) for at, it in frontier if entries or it > known[at] or at in named}
        if not entries and not offsets:
            return
        try:
            notes = {partition: encode_caught(it) for partition, it in settlement.caught.items()}
            await self._settler.settle(hold, entries, offsets, notes)
        except Outdated as outdated:
            self._emit(Event.SETTLEMENT_FENCED, {"partitions": sorted(settlement.frontier)})
            if thread is not None:
                thread.reclaim(settlement.frontier)
            raise Lost(frozenset(settlement.frontier)) from outdated
        for document, version in self._overtaken:
            self._waiting[document].discard(version)
        if thread is not None:
            thread.go_over(offsets)
        for partition, offset in offsets.items():
            if partition in self._committed:
                self._committed[partition] = max(offset, self._committed[partition])

    def _hold(self, settlement: Settlement) -> Hold | None:
        """Return this reader's hold on the partitions of the frontier; None where there are none. Raise Lost."""
        if not settlement.frontier:
            return None
        # What was taken from the thread and not handed out yet, the engine has not heard of.
        unheard = self._news.assigned.keys() if self._news else frozenset()
        hold = self._thread.hold(settlement.frontier) if self._thread else None
        if lost := settlement.frontier.keys() - ((hold.tokens.keys() if hold else frozenset()) - unheard):
            raise Lost(frozenset(lost))
        return hold

    def _entries(self, settlement: Settlement) -> list[Entry]:
        names, headers = self._names, [CONTENT_TYPE]
        # Of a document that changes often many receipts come together.
        keys = {it: receipt_key(it, self._secret) for it in {receipt.document for receipt in settlement.receipts}}
        entries = [
            Entry(
                names.receipts,
                receipt.place.partition,
                keys[receipt.document],
                encode_receipt(receipt, names.generation),
                [*headers, (TRACE_HEADER, receipt.trace)] if receipt.trace else headers,
            )
            for receipt in settlement.receipts
        ]
        if settlement.usage != Usage():
            name = settlement_name(settlement.receipts) or self._ids.identity()
            value = encode_usage(name, settlement.usage, names.generation)
            entries.append(Entry(names.receipts, 0, None, value, headers))
        now_us = self._clock.now_us()
        for receipt in settlement.receipts:
            if receipt.outcome is Outcome.DEAD or self._known or self._book.letters:
                for event in self._events(receipt, now_us):
                    key, value, event_headers = self._book.record(event, names.changes)
                    entries.append(Entry(self._book.topic, 0, key, value, event_headers))
        return entries

    def _events(self, receipt: Receipt, now_us: int) -> list[LetterEvent]:
        """Return what a receipt means for the letter of its version, and for those that it overtakes."""
        generation, document, version = self._names.generation, receipt.document, receipt.version
        letter = (generation, document, str(version))
        if receipt.outcome is Outcome.DEAD:
            self._known.add(letter)
            self._waiting.setdefault(document, set()).add(version)
        own = letter in self._known or letter in self._book.letters
        waiting = self._waiting.get(document, ()) if receipt.outcome in FRESH else ()
        overtaken = [older for older in waiting if closes(receipt.outcome, version, older)]
        if not own and not overtaken:
            return []  # nearly every receipt, also where some document has a letter
        self._overtaken.update((document, older) for older in overtaken)
        event = of_receipt(receipt, generation, now_us)
        closing = [msgspec.structs.replace(event, version=str(it), outcome=Outcome.SUPERSEDED) for it in overtaken]
        return [event, *closing] if own else closing

    async def _learn_letters(self) -> None:
        await self._book.catch_up()
        for letter in self._book.letters.of(self._names.generation, WAITING):
            self._waiting.setdefault(letter.document, set()).add(letter.version)

    def _tell(self, statistics: Statistics) -> None:
        """Tell of the client's statistics."""
        self._emit(Event.LOG_MEASURED, statistics._asdict())

    async def close(self) -> None:
        self._closed = True
        self._arrived.set()
        async with self._joining:
            thread = self._thread
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, thread.close)
        await self._settler.close()
        await self._book.close()
        await self._registry.close()


def _from_thread(loop: asyncio.AbstractEventLoop, call: Callable[P, None]) -> Callable[P, None]:
    """Return what calls on the loop from any thread; after the loop's end it does nothing."""

    def later(*arguments: P.args, **named: P.kwargs) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(partial(call, *arguments, **named))

    return later
