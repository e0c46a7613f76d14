"""What the log in memory can do beyond the ports: who has which partition, gaps, and a clock that is turned by hand."""

from __future__ import annotations

import asyncio

import pytest

from headwater.clock import SystemIds
from headwater.errors import Halt, Lost
from headwater.log.memory import MemoryLog
from headwater.log.port import Batch, Watermarks
from headwater.model.change import Outgoing
from headwater.model.receipt import Settlement


class HandClock:
    """Time passes by sleeping only."""

    def __init__(self) -> None:
        self.time_s = 1e9

    def now_us(self) -> int:
        return int(self.time_s * 1e6)

    def monotonic(self) -> float:
        return self.time_s

    async def sleep(self, seconds: float) -> None:
        self.time_s += seconds
        await asyncio.sleep(0)


def new_log() -> MemoryLog:
    return MemoryLog(HandClock(), SystemIds())


def test_assignment_by_hand() -> None:
    async def scenario() -> None:
        log = new_log()
        one, two = log.reader("s", "g", 1, 3), log.reader("s", "g", 1, 3)
        log.assign(one, [0, 1])
        log.assign(two, [2])
        assert await one.poll(9, 999, 0) == Batch([], {0: 0, 1: 0})
        assert await two.poll(9, 999, 0) == Batch([], {2: 0})
        await one.settle(Settlement({1: 0}))
        log.assign(two, [1])
        with pytest.raises(Lost) as caught:
            await one.settle(Settlement({0: 4, 1: 4}))
        assert caught.value.partitions == {1}
        with pytest.raises(Lost):  # it is given, but two does not know yet
            await two.settle(Settlement({1: 4}))
        assert await two.poll(9, 999, 0) == Batch([], {1: 0})
        assert await one.poll(9, 999, 0) == Batch([], {}, frozenset({1}))
        await one.settle(Settlement({0: 0}))
        await two.settle(Settlement({1: 0}))

    asyncio.run(scenario())


def test_a_partition_that_went_and_came_back_starts_again() -> None:
    async def scenario() -> None:
        log = new_log()
        one, two = log.reader("s", "g", 1, 1), log.reader("s", "g", 1, 1)
        await log.writer("s", 1).append([Outgoing(b"a", b"1"), Outgoing(b"a", b"2")])
        log.assign(one, [0])
        assert len((await one.poll(9, 9999, 0)).records) == 2
        await one.settle(Settlement({0: 1}))
        log.assign(two, [0])
        log.assign(one, [0])
        with pytest.raises(Lost):
            await one.settle(Settlement({0: 2}))
        batch = await one.poll(9, 9999, 0)
        assert (batch.assigned, batch.revoked) == ({0: 1}, frozenset())
        assert [record.offset for record in batch.records] == [1]

    asyncio.run(scenario())


def test_gaps() -> None:
    async def scenario() -> None:
        log = new_log()
        writer, reader, history = log.writer("s", 1), log.reader("s", "g", 1, 1), log.history("s", "g", 1)
        await writer.append([Outgoing(b"a", b"1")])
        log.skip("s", 0, 3)
        await writer.append([Outgoing(b"a", b"2")])
        log.skip("s", 0, 1)
        assert [record.offset for record in (await reader.poll(9, 9999, 0)).records] == [0, 4]
        assert [record.offset async for record in history.read(0, 1, 5)] == [4]
        assert (await history.watermarks())[0].high == 6

    asyncio.run(scenario())


def test_waiting_uses_the_clock_that_was_given() -> None:
    clock = HandClock()
    reader = MemoryLog(clock, SystemIds()).reader("s", "g", 1, 1)

    async def scenario() -> None:
        await reader.poll(9, 999, 0)
        await reader.poll(9, 999, 3600)

    asyncio.run(scenario())
    assert clock.time_s == pytest.approx(1e9 + 3600, abs=0.01)


def test_a_trimmed_log_begins_later_and_halts_who_needs_more() -> None:
    async def scenario() -> None:
        log = new_log()
        history, reader = log.history("s", "g", 1), log.reader("s", "g", 1, 1)
        await log.writer("s", 1).append([Outgoing(b"a", b"%d" % number) for number in range(5)])
        reading = history.read(0, 0, 5)
        assert (await anext(reading)).offset == 0
        await reader.poll(0, 0, 0)
        await reader.settle(Settlement({0: 1}))
        log.trim("s", 0, 3)
        with pytest.raises(Halt, match="log-truncation-gap"):
            await anext(reading)
        with pytest.raises(Halt, match="log-truncation-gap"):
            await reader.poll(9, 9999, 0)
        assert [record.offset async for record in history.read(0, 0, 5)] == [3, 4]
        assert await history.watermarks() == {0: Watermarks(3, 5, 1)}
        assert await log.reader("s", "other", 1, 1).poll(0, 0, 0) == Batch([], {0: 3})
        log.trim("s", 0, 1)
        assert (await log.history("s", "none", 1).watermarks())[0] == Watermarks(3, 5, 3)

    asyncio.run(scenario())


def test_a_compacted_log_keeps_the_newest_of_each_key() -> None:
    async def scenario() -> None:
        log = new_log()
        history = log.history("s", "g", 1)
        said = [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"b", None)]
        await log.writer("s", 1).append([Outgoing(key, value) for key, value in said])
        log.compact("s", 0)
        assert [record.offset async for record in history.read(0, 0, 9)] == [2, 3]
        log.compact("s", 0, markers=True)
        batch = await log.reader("s", "g", 1, 1).poll(9, 9999, 0)
        assert ([record.offset for record in batch.records], batch.ends) == ([2], {0: 4})
        assert await history.marker_life_s() is None
        log.marker_life_s = 5.0
        assert await history.marker_life_s() == 5.0

    asyncio.run(scenario())
