"""A reader that starts earlier: nothing before the committed offset is skipped, whatever fails or moves meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.clock import SystemClock
from headwater.engine.intake import Intake, Start
from headwater.errors import Changed, Halt, Lost, Retry
from headwater.log.port import Batch, Watermarks
from headwater.model.change import Record
from headwater.model.receipt import Settlement
from headwater.model.registry import Epoch


def record(offset: int, partition: int = 0, size: int = 0) -> Record:
    return Record(partition, offset, b"k", b"v" * size, 0)


class ScriptedLog:
    """A LogReader and a LogHistory in one: batches as told, history whole, failing where told."""

    def __init__(
        self, *batches: Batch, failing: set[int] | None = None, low: int = 0, life_s: float | None = None
    ) -> None:
        self.batches = list(batches)
        self.failing = failing or set()
        self.low = low
        self.life_s = life_s

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        if not self.batches or (max_records == 0 and not self.batches[0].assigned and not self.batches[0].revoked):
            return Batch()
        return self.batches.pop(0)

    async def settle(self, settlement: Settlement) -> None:
        return

    async def identity(self) -> str:
        return "log"

    async def watermarks(self) -> dict[int, Watermarks]:
        return {0: Watermarks(self.low, 100, 0), 1: Watermarks(self.low, 100, 0)}

    async def marker_life_s(self) -> float | None:
        return self.life_s

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        for offset in range(max(start, self.low), end):
            if offset in self.failing:
                self.failing.discard(offset)
                raise Retry("the log", "busy")
            yield record(offset, partition)

    async def close(self) -> None:
        return


def intake(log: ScriptedLog, starts: Mapping[int, int], failing: list[Exception] | None = None) -> Intake:
    async def look(committed: Mapping[int, int]) -> Mapping[int, Start]:
        if failing:
            raise failing.pop()
        return {partition: Start(min(at, starts.get(partition, at))) for partition, at in committed.items()}

    return Intake(log, log, look, Epoch(1, "log", 2), SystemClock())


async def drain(reader: Intake, max_records: int = 3, max_bytes: int = 10**6) -> list[Batch]:
    batches: list[Batch] = []
    empty = 0
    while empty < 2:
        try:
            batch = await reader.poll(max_records, max_bytes, 0)
        except Retry:
            continue
        empty = 0 if batch != Batch() else empty + 1
        batches.append(batch)
    return batches


def places(batches: list[Batch]) -> list[tuple[int, int]]:
    return [(it.partition, it.offset) for batch in batches for it in batch.records]


def test_history_comes_before_what_the_log_gives() -> None:
    log = ScriptedLog(Batch([record(5), record(6)], {0: 5, 1: 2}), Batch([record(2, 1)]))
    batches = asyncio.run(drain(intake(log, {0: 1, 1: 2})))
    assert batches[0] == Batch(assigned={0: 1, 1: 2})
    assert places(batches) == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (1, 2)]
    assert all(len(batch.records) <= 3 for batch in batches)


def test_without_anything_to_go_back_to_it_hands_through() -> None:
    first = Batch([record(5)], {0: 5})
    log = ScriptedLog(first)
    assert asyncio.run(drain(intake(log, {0: 5})))[0] == first


@given(st.sets(st.integers(0, 19)), st.integers(1, 7), st.integers(100, 500))
def test_history_that_cannot_be_read_is_read_again(failing: set[int], max_records: int, max_bytes: int) -> None:
    log = ScriptedLog(Batch([record(20)], {0: 20}), failing=failing)
    batches = asyncio.run(drain(intake(log, {0: 0}), max_records, max_bytes))
    assert places(batches) == [(0, offset) for offset in range(21)]


def test_a_partition_that_comes_back_begins_where_the_index_is_settled_now() -> None:
    log = ScriptedLog(Batch(assigned={0: 20}))
    starts = {0: 0}

    async def go() -> list[Batch]:
        reader = intake(log, starts)
        await drain(reader)
        starts[0] = 7
        log.batches = [Batch(revoked=frozenset({0})), Batch([record(20)], {0: 20})]
        return await drain(reader)

    batches = asyncio.run(go())
    assert batches[0].revoked == {0}
    assert batches[1].assigned == {0: 7}
    assert places(batches) == [(0, offset) for offset in range(7, 21)]


def test_what_was_still_to_be_read_of_a_revoked_partition_is_forgotten() -> None:
    log = ScriptedLog(Batch(assigned={0: 9, 1: 3}))

    async def go() -> list[Batch]:
        reader = intake(log, {0: 0, 1: 0})
        await reader.poll(3, 10**6, 0)
        first = await reader.poll(3, 10**6, 0)
        log.batches = [Batch(revoked=frozenset({0})), Batch([record(9)], {0: 9})]
        return [first, *await drain(reader)]

    batches = asyncio.run(go())
    again = next(at for at, batch in enumerate(batches) if batch.assigned)
    assert [place for place in places(batches[again:]) if place[0] == 0] == [(0, offset) for offset in range(10)]
    assert [place for place in places(batches) if place[0] == 1] == [(1, 0), (1, 1), (1, 2)]


def test_an_end_waits_for_the_history_before_it() -> None:
    log = ScriptedLog(Batch(assigned={0: 2}, ends={0: 8}))
    batches = asyncio.run(drain(intake(log, {0: 0})))
    assert places(batches) == [(0, 0), (0, 1)]
    assert [batch.ends for batch in batches if batch.ends] == [{0: 2}, {0: 8}]


def test_an_assignment_whose_start_cannot_be_looked_up_is_looked_up_again() -> None:
    log = ScriptedLog(Batch([record(1)], {0: 1}))
    failing: list[Exception] = [Retry("index", "busy"), Retry("index", "busy")]
    batches = asyncio.run(drain(intake(log, {0: 0}, failing)))
    assert batches[0].assigned == {0: 0}
    assert places(batches) == [(0, 0), (0, 1)]


def test_history_that_was_trimmed_meanwhile_is_a_gap() -> None:
    log = ScriptedLog(Batch(assigned={0: 9}), low=4)
    with pytest.raises(Halt, match=r"log-truncation-gap: partition 0 is needed from offset 0, and the log begins at 4"):
        asyncio.run(drain(intake(log, {0: 0})))


def test_a_partition_that_nobody_knew_of_begins_the_opening_anew() -> None:
    with pytest.raises(Changed, match="3 partitions or more, and had 2"):
        asyncio.run(drain(intake(ScriptedLog(Batch(assigned={2: 0})), {})))


def test_a_gap_at_the_end_of_history_is_told_when_history_is_read() -> None:
    class Gapped(ScriptedLog):
        async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
            async for found in super().read(partition, start, min(end, 7)):
                yield found

    log = Gapped(Batch(assigned={0: 9}))
    batches = asyncio.run(drain(intake(log, {0: 0})))
    assert places(batches) == [(0, offset) for offset in range(7)]
    told = [at for at, batch in enumerate(batches) if batch.ends == {0: 9}]
    assert told == [max(at for at, batch in enumerate(batches) if batch.records)]


def test_what_is_assigned_and_not_heard_of_yet_is_not_settled() -> None:
    log = ScriptedLog(Batch(assigned={0: 4}))

    async def go() -> None:
        reader = intake(log, {}, [Retry("index", "busy")])
        with pytest.raises(Retry):
            await reader.poll(3, 10**6, 0)
        with pytest.raises(Lost) as lost:
            await reader.settle(Settlement({0: 9}))
        assert lost.value.partitions == {0}

    asyncio.run(go())
