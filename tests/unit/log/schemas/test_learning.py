"""Records wait for their schemas: nothing is lost, nothing reordered, and no outage makes a dead letter."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.clock import SystemClock
from headwater.errors import Reject, Retry, Unreachable
from headwater.log import learning
from headwater.log.codecs.schemas import Part, Schema, SchemaBook, SchemaKind, SchemaRef, Unusable
from headwater.log.learning import Learning, LearningHistory, LearningReader
from headwater.log.port import Batch, LogHistory, LogReader, Watermarks
from headwater.model.change import Record
from headwater.model.receipt import Settlement
from tests.unit.log.schemas.fake import framed, record

STRING = Schema(SchemaKind.AVRO, b'"string"')


class Registry:
    """Knows the ids below 100, unless it is away."""

    def __init__(self) -> None:
        self.away: Exception | None = None
        self.asked: list[int] = []
        self.busy = self.busiest = 0
        self.calls_until_away = 10**9

    async def fetch(self, ref: SchemaRef) -> Schema | Unusable:
        self.asked.append(ref.id)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        await asyncio.sleep(0)
        self.busy -= 1
        self.calls_until_away -= 1
        if self.away or self.calls_until_away < 0:
            raise self.away or Retry("schema registry", "away")
        return STRING if ref.id < 100 else Unusable("is not known to the registry")

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Reader:
    """Hands out what a test queued, as the port says: nothing but news when no records are asked for."""

    def __init__(self, *batches: Batch) -> None:
        self.batches = deque(batches)
        self.polls: list[tuple[int, int, float]] = []
        self.closed = False
        self.settled: list[Settlement] = []

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        self.polls.append((max_records, max_bytes, wait_s))
        if not self.batches:
            return Batch()
        batch = self.batches[0]
        if max_records == 0:
            self.batches[0] = batch._replace(assigned={}, revoked=frozenset())
            return Batch(assigned=batch.assigned, revoked=batch.revoked)
        self.batches.popleft()
        return batch

    async def settle(self, settlement: Settlement) -> None:
        self.settled.append(settlement)

    async def close(self) -> None:
        self.closed = True


def at(number: int, partition: int, offset: int) -> Record:
    return framed(number, b"\x02a", partition=partition, offset=offset)


class World:
    def __init__(self, *batches: Batch) -> None:
        self.registry = Registry()
        self.book = SchemaBook([Part.VALUE])
        self.learn = Learning(self.book, self.registry, SystemClock())
        self.inner = Reader(*batches)
        self.reader: LogReader = LearningReader(self.inner, self.learn)

    async def poll(self, max_records: int = 100, max_bytes: int = 1 << 20) -> Batch:
        return await self.reader.poll(max_records, max_bytes, 1.0)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


AWAY = Retry("schema registry", "away")


def test_what_is_handed_out_can_be_decoded() -> None:
    async def test() -> None:
        records = [
            at(1, 0, 0),
            at(2, 0, 1),
            at(100, 0, 2),
            at(1, 1, 0),
            record(None, offset=3),
            record(b"{}", offset=4),
        ]
        world = World(Batch(records, assigned={0: 0, 1: 0}, ends={0: 9}))
        batch = await world.poll()
        assert batch == Batch(records, {0: 0, 1: 0}, frozenset(), {0: 9})
        assert [world.book.value(it) for it in (records[0], records[1], records[4])] == ["a", "a", None]
        for bad in (records[2], records[5]):
            with pytest.raises(Reject):
                world.book.value(bad)
        assert sorted(world.registry.asked) == [1, 2, 100]

    run(test())


def test_an_outage_holds_the_records_and_hands_them_out_once_afterwards() -> None:
    async def test() -> None:
        records = [at(1, 0, 0), at(2, 0, 1)]
        world = World(Batch(records, ends={0: 5}), Batch([at(1, 0, 6)]))
        world.registry.away = AWAY
        for _ in range(3):
            with pytest.raises(Retry):
                await world.poll()
        assert world.inner.polls == [(100, 1 << 20, 1.0), (0, 0, 0.0), (0, 0, 0.0)], "the group does not miss us"
        world.registry.away = None
        assert await world.poll() == Batch(records, ends={0: 5})
        assert await world.poll() == Batch([at(1, 0, 6)])

    run(test())


def test_news_do_not_wait_for_the_registry() -> None:
    async def test() -> None:
        first = Batch([at(1, 0, 0), at(1, 1, 0)], assigned={0: 0, 1: 0}, ends={0: 4, 1: 4})
        world = World(first, Batch(assigned={2: 7}, revoked=frozenset({0})))
        world.registry.away = AWAY
        assert await world.poll() == Batch([], {0: 0, 1: 0})
        assert await world.poll() == Batch([], {2: 7}, frozenset({0}))
        with pytest.raises(Retry):
            await world.poll()
        world.registry.away = None
        assert await world.poll() == Batch([at(1, 1, 0)], ends={1: 4}), "partition 0 is another's now"

    run(test())


def test_a_partition_assigned_again_begins_where_that_says() -> None:
    async def test() -> None:
        world = World(Batch([at(1, 0, 0), at(1, 0, 1)], ends={0: 2}), Batch([at(1, 0, 1)], assigned={0: 1}))
        world.registry.away = AWAY
        with pytest.raises(Retry):
            await world.poll()
        assert await world.poll() == Batch([], {0: 1})
        world.registry.away = None
        assert await world.poll() == Batch([at(1, 0, 1)])

    run(test())


def test_a_registry_that_needs_a_person_loses_nothing_either() -> None:
    async def test() -> None:
        batch = Batch([at(1, 0, 0)], {0: 0}, frozenset({3}), {0: 1})
        world = World(batch)
        world.registry.away = Unreachable("schema registry", "the login is refused")
        with pytest.raises(Unreachable):
            await world.poll()
        with pytest.raises(Unreachable):
            await world.poll()
        assert len(world.inner.polls) == 1, "another poll would hand partition 3 over before anybody knows"
        world.registry.away = None
        assert await world.poll() == batch

    run(test())


def test_a_poll_that_is_cancelled_loses_nothing() -> None:
    async def test() -> None:
        batch = Batch([at(1, 0, 0)], {0: 0})
        world = World(batch)
        task = asyncio.ensure_future(world.poll())
        while not world.registry.busy:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await world.poll() == batch

    run(test())


def test_asked_for_no_records_it_gives_news_only_and_waits_as_told() -> None:
    async def test() -> None:
        world = World(Batch([at(1, 0, 0)], {0: 0}))
        world.registry.away = AWAY
        assert await world.poll(0) == Batch([], {0: 0})
        with pytest.raises(Retry):
            await world.poll()
        assert await world.poll(0) == Batch([])
        assert world.inner.polls[-1] == (0, 0, 1.0)
        assert world.registry.asked == [1]

    run(test())


def test_a_smaller_poll_gets_the_first_of_what_is_held() -> None:
    async def test() -> None:
        records = [at(1, 0, 0), at(1, 1, 0), at(1, 0, 1), at(1, 1, 1)]
        world = World(Batch(records, ends={0: 8, 1: 9}))
        world.registry.away = AWAY
        with pytest.raises(Retry):
            await world.poll()
        world.registry.away = None
        assert await world.poll(max_records=1) == Batch(records[:1])
        assert await world.poll(max_bytes=1) == Batch(records[1:2])
        assert await world.poll(max_bytes=records[2].size_bytes) == Batch(records[2:3], ends={0: 8})
        assert await world.poll() == Batch(records[3:], ends={1: 9})

    run(test())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 130), max_size=5), min_size=1, max_size=6),
    st.lists(st.booleans(), max_size=20),
    st.lists(st.integers(0, 4), min_size=1, max_size=20),
)
def test_every_record_comes_once_and_in_order(batches: list[list[int]], outages: list[bool], sizes: list[int]) -> None:
    async def test() -> None:
        offset, queued = 0, []
        for numbers in batches:
            queued.append(Batch([at(number, 0, offset + it) for it, number in enumerate(numbers)]))
            offset += len(numbers)
        world = World(*queued)
        got: list[Record] = []
        for step in range(200):
            world.registry.away = AWAY if step < len(outages) and outages[step] else None
            try:
                batch = await world.poll(max_records=sizes[step % len(sizes)] if step < 100 else 3)
            except Retry:
                continue
            for it in batch.records:
                if int.from_bytes((it.value or b"")[1:5], "big") < 100:
                    assert world.book.value(it) == "a"
                else:
                    with pytest.raises(Reject):
                        world.book.value(it)
            got += batch.records
        assert got == [it for batch in queued for it in batch.records]

    run(test())


def test_many_schemas_are_fetched_beside_each_other_up_to_a_bound() -> None:
    async def test() -> None:
        world = World(Batch([at(number, 0, number) for number in range(1, 60)]))
        await world.poll()
        assert sorted(world.registry.asked) == list(range(1, 60))
        assert world.registry.busiest == learning.AT_ONCE

    run(test())


def test_after_a_failure_no_more_is_asked_for_and_what_came_is_kept() -> None:
    async def test() -> None:
        world = World(Batch([at(number, 0, number) for number in range(1, 60)]))
        world.registry.calls_until_away = 20
        with pytest.raises(Retry):
            await world.poll()
        assert len(world.registry.asked) <= 20 + learning.AT_ONCE
        world.registry.calls_until_away = 10**9
        asked = len(world.registry.asked)
        await world.poll()
        assert len(world.registry.asked) - asked == 59 - 20

    run(test())


def test_settling_and_closing_go_through() -> None:
    async def test() -> None:
        world = World()
        settlement = Settlement({0: 1})
        await world.reader.settle(settlement)
        await world.reader.close()
        assert (world.inner.settled, world.inner.closed) == ([settlement], True)

    run(test())


class History:
    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.closed = False

    async def identity(self) -> str:
        return "identity"

    async def watermarks(self) -> dict[int, Watermarks]:
        return {0: Watermarks(0, 9, 4)}

    async def marker_life_s(self) -> float | None:
        return 5.0

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        for it in self.records:
            if it.partition == partition and start <= it.offset < end:
                yield it

    async def close(self) -> None:
        self.closed = True


def test_history_is_read_with_its_schemas_even_with_no_room_for_two() -> None:
    async def test() -> None:
        records = [at(number, 0, offset) for offset, number in enumerate((1, 2, 1, 100, 3))]
        registry = Registry()
        book = SchemaBook([Part.VALUE], max_schemas=1)
        inner = History(records)
        history: LogHistory = LearningHistory(inner, Learning(book, registry, SystemClock()))
        assert await history.identity() == "identity"
        assert await history.watermarks() == {0: Watermarks(0, 9, 4)}
        assert await history.marker_life_s() == 5.0
        values: list[object] = []
        async for it in history.read(0, 1, 5):
            try:
                values.append(book.value(it))
            except Reject:
                values.append("dead")
        assert values == ["a", "a", "dead", "a"]
        registry.away = AWAY
        with pytest.raises(Retry):
            [it async for it in history.read(0, 1, 5)]
        await history.close()
        assert inner.closed

    run(test())
