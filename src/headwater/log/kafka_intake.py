"""A consumer of a group on a thread of its own, behind bounded buffers.

The thread polls whatever the engine does, so that long work never costs the group's membership. It keeps a buffer for
each partition and pauses those that are full. What happens to the assignment is news, which the engine is told before
any record. A revoked partition waits, bounded, until the engine has settled what was done of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.cimpl import Message

from headwater.clock import Clock
from headwater.errors import Changed, Halt, HeadwaterError, Retry, Unreachable
from headwater.log.kafka_buffers import Buffer, drained, full, take
from headwater.log.kafka_client import (
    KAFKA,
    REQUEST_S,
    Trouble,
    bounds,
    fetched,
    for_now,
    offset_of,
    partition_of,
    standing,
    translated,
)
from headwater.log.kafka_history import record_of
from headwater.log.kafka_statistics import Statistics, measured
from headwater.log.rules import REBUILD
from headwater.model.change import Record

T = TypeVar("T")

_BATCH = 500
_STEP_S = 0.1
#: How long the thread waits for room before it pauses partitions. The client takes its time to fetch again what it
#: fetched before, up to a second where all are paused; an engine that merely is busy soon has room.
_ROOM_S = 0.2
#: How long a rebalance waits for what is under way to be settled.
HAND_OVER_S = 10.0


class News(NamedTuple):
    """What became of the assignment: the same partition is never in both. `number` is what hands over all that is
    revoked up to here.
    """

    assigned: Mapping[int, int]
    revoked: frozenset[int]
    number: int


class _Start(NamedTuple):
    """Where the group stands in a partition, and where the log begins. It is read from the later one."""

    committed: int
    low: int


class Hold:
    """A reader's hold on some partitions, as it was when a settlement began."""

    def __init__(self, thread: ConsumerThread, tokens: Mapping[int, int]) -> None:
        self._thread = thread
        self.tokens = tokens

    def commit(self, places: list[TopicPartition]) -> list[TopicPartition] | None:
        """Commit these offsets as the group's member. None when the hold is no longer what it was. Blocks."""

        def work(consumer: Consumer) -> list[TopicPartition] | None:
            return consumer.commit(offsets=places, asynchronous=False) if self._holds() else None

        return self._thread.ask(work)

    def _holds(self) -> bool:
        return self._thread.hold(self.tokens).tokens == self.tokens

    def membership(self, *, newer: bool = False) -> object | None:
        """Return what the group knows this member by; with `newer`, as of now and not of a moment ago. Blocks a little;
        None when the hold is no longer what it was.

        The group fences members, not partitions: it lets a member of today's generation commit for any of them. So the
        look at the partitions comes after that at the membership: what went between the two went with a newer one.
        """
        metadata = self._thread.membership(newer=newer)
        return metadata if self._holds() else None


class ConsumerThread:
    """Runs one consumer. All but `run` and the callbacks is called from the engine's side."""

    def __init__(
        self,
        make: Callable[[Trouble, Callable[[str], None]], Consumer],
        topic: str,
        clock: Clock,
        notify: Callable[[], None],
        tell: Callable[[Statistics], None],
    ) -> None:
        self._make = make
        self._topic = topic
        self._clock = clock
        self._notify = notify
        self._tell = tell
        self._trouble = Trouble()
        self._lock = threading.Lock()
        self._buffers: dict[int, Buffer] = {}
        self._held: dict[int, int] = {}  # each partition with its assignment's number
        self._assignments = 0
        self._assigned: dict[int, int] = {}
        self._revoked: set[int] = set()
        self._revocations = 0
        self._handed_over = 0  # the last of them that the engine let go
        self._fresh: set[int] = set()  # assigned during the consume call that is under way
        self._reclaim: set[int] = set()
        self._closing = threading.Event()
        self._failure: HeadwaterError | None = None
        self._turn = 0
        self._metadata: object | None = None
        self._work: deque[tuple[Callable[[Consumer], Any], Future[Any]]] = deque()
        self._moved = threading.Condition(self._lock)
        self._looker: Consumer | None = None
        self.consumer: Consumer | None = None
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)

    def start(self) -> None:
        """Join the group."""
        self._thread.start()

    def close(self) -> None:
        """Leave the group. Blocks until it is left."""
        self._closing.set()
        with self._moved:
            self._moved.notify_all()
        if self._thread.is_alive():
            # A client whose brokers are away may take its time; the process does not wait for it.
            self._thread.join(REQUEST_S)

    # --- for the engine

    def check(self) -> None:
        """Raise what stands in the way: a gap, rights, a wrong password; Retry while the brokers are away."""
        self._trouble.check()
        if self._trouble.down:
            raise Retry(KAFKA, self._trouble.cause("no broker answers"), 1.0)
        with self._lock:
            failure = self._failure
            if isinstance(failure, Retry):
                self._failure = None
        if failure is not None:
            raise failure

    def news(self) -> News | None:
        """Return what became of the assignment since the last call; None: nothing."""
        with self._lock:
            if not self._assigned and not self._revoked:
                return None
            news = News(dict(self._assigned), frozenset(self._revoked), self._revocations)
            self._assigned.clear()
            self._revoked.clear()
            return news

    def hand_over(self, number: int) -> None:
        """Let go of what was revoked, up to the news of this number: nothing more of it is settled."""
        with self._moved:
            self._handed_over = max(number, self._handed_over)
            self._moved.notify_all()

    def hold(self, partitions: Iterable[int]) -> Hold:
        """Return the hold on those of these partitions that are this reader's still. One that went and came back counts
        when the engine has heard of it.
        """
        with self._lock:
            return Hold(self, {at: self._held[at] for at in partitions if at in self._held.keys() - self._assigned})

    def reclaim(self, partitions: Iterable[int]) -> None:
        """Begin anew with these partitions, as far as they turn out to be this reader's all the same."""
        with self._lock:
            self._reclaim.update(partitions)

    def membership(self, *, newer: bool = False) -> object | None:
        """Return what the group knows this member by; with `newer`, as of now. None when the thread has ended."""
        if newer:
            return self.ask(lambda consumer: consumer.consumer_group_metadata())
        with self._lock:
            return self._metadata if self._thread.is_alive() else None

    def ask(self, work: Callable[[Consumer], T]) -> T | None:
        """Return what `work` returns, which the thread does between two calls of its own, also while it waits for a
        hand-over: asked from another thread, the client waits for the call that is under way there. None when the
        thread has ended. Blocks.
        """
        future: Future[T] = Future()
        with self._moved:
            if self._closing.is_set() or not self._thread.is_alive():
                return None
            self._work.append((work, future))
            self._moved.notify_all()
        try:
            return future.result(2 * REQUEST_S)
        except CancelledError:
            return None
        except TimeoutError:
            raise Retry(KAFKA, self._trouble.cause("the consumer is busy")) from None

    def take(self, max_records: int, max_bytes: int) -> tuple[list[Record], dict[int, int]]:
        """Return records of all partitions in turns, and the ends that lie behind a gap. News comes before them. Raise
        Halt where the log no longer holds what comes next, unless that was gone over.
        """
        with self._moved:
            if not self._buffers or not max_records or self._assigned or self._revoked:
                return [], {}
            for partition, buffer in self._buffers.items():
                if buffer.next < buffer.low:
                    raise self._gap(partition, buffer.next, f"; it begins at {buffer.low}")
            self._turn += 1
            taken = take(self._buffers, self._turn, max_records, max_bytes)
            self._moved.notify_all()
            return taken

    def go_over(self, offsets: Mapping[int, int]) -> None:
        """Note that what lies before these offsets is not needed, whether the log holds it or not."""
        with self._lock:
            for partition, offset in offsets.items():
                if partition in self._buffers:
                    self._buffers[partition].next = max(offset, self._buffers[partition].next)

    # --- the thread

    def _run(self) -> None:
        try:
            self.consumer = consumer = self._make(self._trouble, self._measure)
            consumer.subscribe(
                [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._closing.is_set():
                self._begin_anew(consumer)
                self._regulate(consumer)
                self._fresh.clear()
                self._serve(consumer)
                if messages := fetched(consumer, _BATCH, _STEP_S):
                    self._sort(consumer, messages)
                    self._notify()
        except KafkaException as raised:
            failure = translated(raised.args[0], "reading changes", self._topic)
            self._fail(Changed(f"the consumer ended: {failure}") if isinstance(failure, Retry) else failure)
        except HeadwaterError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 (a defect on this thread would otherwise be a silent standstill)
            self._fail(Halt("lost-change", f"the consumer's thread ended: {type(error).__name__}: {error}"))
        finally:
            for client in (self.consumer, self._looker):
                if client is not None:
                    with suppress(KafkaException, RuntimeError):
                        client.close()
            with self._lock:
                self._closing.set()
                self._held.clear()
                while self._work:
                    self._work.popleft()[1].cancel()

    def _serve(self, consumer: Consumer) -> None:
        """Do what was asked of this thread, and note by what the group knows this member."""
        while True:
            with self._lock:
                if not self._work:
                    break
                work, future = self._work.popleft()
            try:
                future.set_result(work(consumer))
            except (KafkaException, RuntimeError) as error:
                future.set_exception(error)
        metadata = consumer.consumer_group_metadata()
        with self._lock:
            self._metadata = metadata

    def _fail(self, failure: HeadwaterError) -> None:
        with self._lock:
            if self._failure is None or isinstance(self._failure, Retry):
                self._failure = failure
        self._notify()

    def _sort(self, consumer: Consumer, messages: list[Message]) -> None:
        stale: set[int] = set()
        with self._lock:
            for message in messages:
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    self._hear(error, message)
                    continue
                partition = partition_of(message)
                if partition in self._fresh:
                    # It may have been fetched before the assignment: its place among the others is not certain.
                    stale.add(partition)
                buffer = self._buffers.get(partition)
                if buffer is None or partition in stale:
                    continue
                if error is not None:
                    buffer.end = message.offset()
                else:
                    buffer.add(record_of(message))
            again = {partition: self._buffers[partition] for partition in stale if partition in self._buffers}
            starts = {partition: max(it.next, it.low) for partition, it in again.items()}
        self._restart(consumer, starts)

    def _restart(self, consumer: Consumer, starts: Mapping[int, int]) -> None:
        """Let the fetching of these partitions begin anew."""
        for partition, offset in starts.items():
            place = TopicPartition(self._topic, partition, offset)
            try:
                consumer.seek(place)
            except KafkaException:  # it has not begun yet
                consumer.incremental_unassign([place])
                consumer.incremental_assign([place])

    def _hear(self, error: KafkaError, message: Message) -> None:
        """Take an error that came in the place of a record; not each is about a partition. Called with the lock."""
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            failure: HeadwaterError = self._gap(partition_of(message), offset_of(message))
        elif error.code() == KafkaError._MAX_POLL_EXCEEDED:
            return  # the partitions are lost, which is said of each
        elif error.fatal() or error.code() == KafkaError._FATAL:
            cause = f"the consumer was expelled: {error.str()}"
            failure = Unreachable(
                KAFKA, cause, "With log.instance, each worker needs a name of its own", code="expelled"
            )
        else:
            failure = for_now(error, "reading changes", self._topic)
        if self._failure is None or isinstance(self._failure, Retry):
            self._failure = failure

    def _gap(self, partition: int, offset: int, more: str = "") -> Halt:
        where = f"partition {partition} of {self._topic}"
        detail = f"{where} is needed from offset {offset}, which the log does not hold{more}"
        return Halt("log-truncation-gap", detail, REBUILD)

    def _regulate(self, consumer: Consumer) -> None:
        """Wait a moment for room; then pause partitions whose buffers are full, and resume those that have room."""
        with self._moved:
            had_room = self._moved.wait_for(self._has_room, _ROOM_S)
            wait = [] if had_room else full(self._buffers)
            go_on = drained(self._buffers)
            for partition in (*wait, *go_on):
                self._buffers[partition].paused = partition in wait
        with suppress(KafkaException):  # a partition that has just gone needs neither
            if wait:
                consumer.pause([TopicPartition(self._topic, partition) for partition in wait])
            if go_on:
                consumer.resume([TopicPartition(self._topic, partition) for partition in go_on])

    def _has_room(self) -> bool:
        return not full(self._buffers) or bool(self._work) or self._closing.is_set()

    def _measure(self, statistics: str) -> None:
        """Take the client's statistics. This is its `stats_cb`, called in the consume calls."""
        found = measured(statistics, self._topic)
        if found.brokers:
            self._trouble.connected()
        with self._lock:
            lag = sum(max(0, found.ends.get(at, 0) - it.next) for at, it in self._buffers.items())
            held = len(self._held)
        self._tell(Statistics(found.brokers, held, lag, found.rebalances))

    def _begin_anew(self, consumer: Consumer) -> None:
        """Hand out again what was given up although it is still this reader's."""
        with self._lock:
            wanted = self._reclaim & self._held.keys()
            self._reclaim.clear()
        if not wanted:
            return
        starts = self._committed(wanted)
        self._restart(consumer, {partition: max(start) for partition, start in starts.items()})
        self._begin(consumer, starts)

    # --- the group's callbacks: they run in the consume calls

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._closing.is_set():
            return
        starts = self._committed({it.partition for it in partitions})
        consumer.incremental_assign([TopicPartition(self._topic, at, max(start)) for at, start in starts.items()])
        self._begin(consumer, starts)

    def _begin(self, consumer: Consumer, starts: Mapping[int, _Start]) -> None:
        # The client remembers from a former time that it was paused.
        consumer.resume([TopicPartition(self._topic, partition) for partition in starts])
        with self._lock:
            for partition, (offset, low) in starts.items():
                buffer = self._buffers[partition] = Buffer()
                buffer.next, buffer.low = offset, low
                self._assignments += 1
                self._held[partition] = self._assignments
                self._fresh.add(partition)
                self._assigned[partition] = offset
                self._revoked.discard(partition)
        self._notify()

    def _committed(self, partitions: set[int]) -> dict[int, _Start]:
        """Return where the group stands in each of these, the log's beginning where it never was. Waits for it.

        A log that was restored from a backup may end before that: then it is read from its end, as it is now.
        """
        wanted = [TopicPartition(self._topic, partition) for partition in sorted(partitions)]
        # By a client of its own: made in a callback, some calls leave the client in a state that ends the process.
        if self._looker is None:
            self._looker = self._make(self._trouble, lambda _: None)
        while True:
            try:
                found = standing(self._looker, wanted, self._trouble, self._clock)
                limits = {it.partition: bounds(self._looker, it, self._trouble, self._clock) for it in wanted}
            except KafkaException as raised:
                error = for_now(raised.args[0], "asking for committed offsets", self._topic)
                if not isinstance(error, Retry):
                    raise
                self._fail(error)
                if self._closing.wait(_STEP_S):
                    return {}
            else:
                stands = {at: min(it.offset, limits[at][1]) for at, it in found.items()}
                return {at: _Start(stands.get(at, low), low) for at, (low, _) in limits.items()}

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        going = {it.partition for it in partitions}
        number = self._give_up(going)
        self._notify()
        if number:
            self._await_hand_over(consumer, number)
        self._let_go(consumer, partitions)

    def _await_hand_over(self, consumer: Consumer, number: int) -> None:
        """Wait until the engine has settled what it could. Meanwhile this thread answers what a settlement asks of it:
        the group's generation is a newer one already.
        """
        deadline = self._clock.monotonic() + HAND_OVER_S
        while True:
            self._serve(consumer)
            with self._moved:
                left_s = deadline - self._clock.monotonic()
                self._moved.wait_for(lambda: self._is_over(number) or bool(self._work), left_s)
                if self._is_over(number) or self._clock.monotonic() >= deadline:
                    return

    def _is_over(self, number: int) -> bool:
        return self._handed_over >= number or self._closing.is_set()

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._give_up({it.partition for it in partitions})
        self._let_go(consumer, partitions)
        self._notify()

    def _give_up(self, partitions: set[int]) -> int:
        """Take nothing more in. Return the number with which the engine lets go, 0 when none of it was its own."""
        with self._lock:
            for partition in partitions:
                self._buffers.pop(partition, None)
                self._assigned.pop(partition, None)
            mine = partitions & self._held.keys()
            if not mine:
                return 0
            self._revoked |= mine
            self._revocations += 1
            return self._revocations

    def _let_go(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with self._lock:
            for it in partitions:
                self._held.pop(it.partition, None)
        consumer.incremental_unassign(partitions)
