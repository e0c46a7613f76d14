"""The log that the simulation plays with, held against the real broker.

Each scenario is one script. It runs on the log in memory and on Kafka, and what it saw must be the same: which records
came, where reading began, what was refused, and what was settled in the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from headwater.clock import SystemClock, SystemIds
from headwater.errors import Halt, Lost
from headwater.log.memory import MemoryLog
from headwater.model.change import Outgoing, Record
from headwater.model.receipt import Settlement, Usage
from headwater.testing.log_bench import Bench, Contract, Log, receipt
from tests.integration.kafka.logs import Logs, OnKafka
from tests.kafka.client import Kafka
from tests.kafka.process import soon

#: What is written only so that Kafka closes a segment; compaction leaves the newest segment alone.
TICK = b"tick"
COMPACTED = {
    "cleanup_policy": "compact",
    "segment_ms": "300",
    "min_cleanable_dirty_ratio": "0.01",
    "max_compaction_lag_ms": "500",
    "delete_retention_ms": "1000",
}


class Model(Contract):
    """The log in memory."""

    def log(self, folder: Path) -> MemoryLog:
        return MemoryLog(SystemClock(), SystemIds())

    async def gap(self, log: Log) -> None:
        assert isinstance(log, MemoryLog)
        log.skip("s", 0, 2)

    async def trim(self, log: Log, low: int) -> None:
        assert isinstance(log, MemoryLog)
        log.trim("s", 0, low)

    async def compact(self, log: Log, left: int, *, markers: bool) -> None:
        assert isinstance(log, MemoryLog)
        log.marker_life_s = 1.0
        log.compact("s", 0, markers=markers)


class Real(OnKafka):
    """Kafka."""

    async def trim(self, log: Log, low: int) -> None:
        assert isinstance(log, Logs)
        (done,) = self.admin.delete_records([TopicPartition(log.topic, 0, low)]).values()
        await asyncio.to_thread(done.result, 10)

    async def compact(self, log: Log, left: int, *, markers: bool) -> None:
        """Wait until so many records are left. Markers go by themselves, when their time is over."""
        assert isinstance(log, Logs)

        def is_clean() -> bool:
            self.kafka.produce(log.topic, [(TICK, b"")], partitioner="murmur2_random")
            with self.kafka.consumer([]) as consumer:
                consumer.assign([TopicPartition(log.topic, 0, 0)])
                end = consumer.get_watermark_offsets(TopicPartition(log.topic, 0), 10)[1]
                found: list[Any] = []
                while not found or found[-1].offset() < end - 1:
                    found += consumer.consume(500, 0.1)
            return len([it for it in found if it.key() != TICK]) == left

        assert await asyncio.to_thread(soon, is_clean, 40)


class Script(Bench):
    """A bench that can also do what happens to a log."""

    async def trim(self, low: int) -> None:
        assert isinstance(self._contract, Model | Real)
        await self._contract.trim(self._log, low)

    async def compact(self, left: int, *, markers: bool) -> None:
        assert isinstance(self._contract, Model | Real)
        await self._contract.compact(self._log, left, markers=markers)

    async def held(self, start: int = 0, end: int = 1 << 40) -> list[Any]:
        """What the history reads."""
        history = self.history()
        return seen([record async for record in history.read(0, start, end)])


def seen(records: Sequence[Record]) -> list[Any]:
    return [(it.offset, it.key, it.value) for it in records if it.key != TICK]


async def refused(work: Awaitable[object]) -> str:
    """How a call was refused; empty when it was not."""
    try:
        await work
    except Lost as lost:
        return f"lost {sorted(lost.partitions)}"
    except Halt as halt:
        return halt.invariant
    return ""


async def rebalance_with_a_zombie(script: Script) -> list[Any]:
    records = await script.fill("a", "b", "c")
    zombie, heir = script.line(2)
    found: list[Any] = [await script.assigned(zombie), seen(await script.drain(zombie))]
    await zombie.settle(Settlement({0: 1}, (receipt(records[0]),), Usage(1, 1, 1, 0)))
    found += [await script.assigned(heir), seen(await script.drain(heir))]
    late = Settlement({0: 3}, tuple(map(receipt, records)), Usage(9, 9, 9, 0))
    found += [await refused(zombie.settle(late)), (await script.history().watermarks())[0]]
    await heir.settle(Settlement({0: 2}, (receipt(records[1]),), Usage(2, 2, 2, 0)))
    found += [await refused(zombie.settle(late)), (await script.history().watermarks())[0]]
    return [*found, await script.ledger().totals()]


async def delivered_twice(script: Script) -> list[Any]:
    records = await script.fill("a", "b")
    found: list[Any] = []
    settlement = Settlement({0: 2}, tuple(map(receipt, records)), Usage(1, 2, 3, 4))
    for _ in range(2):
        reader = script.reader()
        found.append(seen(await script.drain(reader)))
        await reader.close()
    reader = script.reader()
    await script.drain(reader)
    await reader.settle(settlement)
    await reader.settle(Settlement({0: 1}, settlement.receipts, Usage(1, 2, 3, 4)))
    await reader.close()
    again = script.reader()
    found += [await script.assigned(again), await script.ledger().totals(), await script.ledger().receipts("a")]
    return [*found, (await script.history().watermarks())[0]]


async def gaps(script: Script) -> list[Any]:
    found: list[Any] = []
    reader = script.reader()
    await script.fill("a")
    await script.gap()
    found += [seen(await script.drain(reader)), dict(reader.next)]
    await script.fill("b")
    found += [seen(await script.drain(reader)), dict(reader.next)]
    await script.gap()
    await script.gap()
    found += [seen(await script.drain(reader)), dict(reader.next)]
    await reader.settle(Settlement(reader.next))
    await reader.close()
    found += [await script.held(), await script.held(1, 3), await script.held(2, 4)]
    again = script.reader()
    await script.gap()
    found += [await script.assigned(again), seen(await script.drain(again)), dict(again.next)]
    return [*found, (await script.history().watermarks())[0]]


async def truncation(script: Script) -> list[Any]:
    await script.fill(*(f"k{number}" for number in range(8)))
    reader = script.reader()
    await script.drain(reader)
    await reader.settle(Settlement({0: 3}))
    await reader.close()
    await script.trim(6)
    found: list[Any] = [(await script.history().watermarks())[0], await script.held(), await script.held(2, 7)]
    behind, fresh = script.reader(), script.reader(group="other")
    found += [await script.assigned(behind), await refused(script.polled(behind, any))]
    found += [await script.assigned(fresh), seen(await script.drain(fresh))]
    return found


async def compaction(script: Script) -> list[Any]:
    said = [(b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"c", b"1"), (b"b", None)]
    await script.writer().append([Outgoing(key, value) for key, value in said])
    found: list[Any] = [await script.held()]
    # When a marker goes is the cleaner's affair; that the newest of each key stays until then is the contract's.
    await script.compact(2, markers=True)
    found += [await script.held(), await script.held(0, 2), await script.held(0, 4)]
    reader = script.reader()
    found += [await script.assigned(reader), seen(await script.drain(reader))]
    return [*found, await script.history().marker_life_s()]


async def compaction_that_keeps_markers(script: Script) -> list[Any]:
    said = [(b"a", b"1"), (b"b", b"1"), (b"a", None), (b"b", b"2"), (b"a", b"3"), (b"c", None)]
    await script.writer().append([Outgoing(key, value) for key, value in said])
    await script.compact(3, markers=False)
    reader = script.reader()
    return [await script.held(), seen(await script.drain(reader)), await script.held(1, 5)]


async def play(scenario: Callable[[Script], Awaitable[list[Any]]], on: Model | Real, folder: Path) -> list[Any]:
    script = Script(on, folder)
    try:
        return await asyncio.wait_for(scenario(script), 90)
    finally:
        await script.close()


LONG = {**COMPACTED, "delete_retention_ms": "3600000"}


@pytest.mark.parametrize(
    ("scenario", "changes"),
    [
        (rebalance_with_a_zombie, {}),
        (delivered_twice, {}),
        (gaps, {}),
        (truncation, {}),
        (compaction, COMPACTED),
        (compaction_that_keeps_markers, LONG),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_the_model_and_the_broker_agree(
    kafka: Kafka,
    tmp_path: Path,
    scenario: Callable[[Script], Awaitable[list[Any]]],
    changes: dict[str, str],
) -> None:
    real = Real().reach(kafka)
    real.changes = changes
    modelled = asyncio.run(play(scenario, Model(), tmp_path))
    assert asyncio.run(play(scenario, real, tmp_path)) == modelled
    assert any(modelled)
