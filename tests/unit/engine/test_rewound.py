"""A reader that starts earlier: nothing before the committed offset is skipped, whatever fails or moves meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.engine.rewound import Rewound
from headwater.errors import Retry
from headwater.log.port import Batch, Watermarks
from headwater.model.change import Record
from headwater.model.receipt import Settlement


def record(offset: int, partition: int = 0, size: int = 0) -> Record:
    return Record(partition, offset, b"k", b"v" * size, 0)


class ScriptedLog:
    """A LogReader and a LogHistory in one: batches as told, history whole, failing where told."""

    def __init__(self, *batches: Batch, failing: set[int] | None = None) -> None:
        self.batches = list(batches)
        self.failing = failing or set()
        self.settled: list[Settlement] = []

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        return self.batches.pop(0) if self.batches else Batch()

    async def settle(self, settlement: Settlement) -> None:
        self.settled.append(settlement)

    async def pause(self, partitions: frozenset[int]) -> None:
        return

    async def resume(self, partitions: frozenset[int]) -> None:
        return

    async def identity(self) -> str:
        return "log"

    async def watermarks(self) -> dict[int, Watermarks]:
        return {}

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        for offset in range(start, end):
            if offset in self.failing:
                self.failing.discard(offset)
                raise Retry("the log", "busy")
            yield record(offset, partition)

    async def close(self) -> None:
        return


async def drain(reader: Rewound, max_records: int = 3, max_bytes: int = 10**6) -> list[Batch]:
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
    batches = asyncio.run(drain(Rewound(log, log, {0: 1, 1: 2})))
    assert batches[0] == Batch(assigned={0: 1, 1: 2})
    assert places(batches) == [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (1, 2)]
    assert all(len(batch.records) <= 3 for batch in batches)


def test_without_anything_to_go_back_to_it_hands_through() -> None:
    first = Batch([record(5)], {0: 5})
    log = ScriptedLog(first)
    assert asyncio.run(drain(Rewound(log, log, {0: 5})))[0] is first


@given(st.sets(st.integers(0, 19)), st.integers(1, 7), st.integers(100, 500))
def test_history_that_cannot_be_read_is_read_again(failing: set[int], max_records: int, max_bytes: int) -> None:
    log = ScriptedLog(Batch([record(20)], {0: 20}), failing=failing)
    batches = asyncio.run(drain(Rewound(log, log, {0: 0}), max_records, max_bytes))
    assert places(batches) == [(0, offset) for offset in range(21)]


@pytest.mark.parametrize(("settled", "again"), [(None, 0), (7, 7), (20, 20)])
def test_a_partition_that_comes_back_begins_where_the_index_is_settled(settled: int | None, again: int) -> None:
    log = ScriptedLog(Batch(assigned={0: 20}))

    async def go() -> list[Batch]:
        reader = Rewound(log, log, {0: 0})
        await drain(reader)
        if settled is not None:
            await reader.settle(Settlement({0: settled}))
        log.batches = [Batch(revoked=frozenset({0})), Batch([record(20)], {0: 20})]
        return await drain(reader)

    batches = asyncio.run(go())
    assert batches[0].revoked == {0}
    assert batches[1].assigned == {0: again}
    assert places(batches) == [(0, offset) for offset in range(again, 21)]
