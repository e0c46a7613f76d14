"""The consumer behind its buffers, and settling: what the contract of all logs does not ask."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable

import psutil
import pytest
from confluent_kafka import Producer

from headwater.errors import Lost, Reject
from headwater.log.kafka_buffers import BUFFERED_BYTES
from headwater.log.kafka_reader import KafkaReader, Membership
from headwater.log.port import Batch
from headwater.model.change import Outgoing
from headwater.model.manifest import Outcome
from headwater.model.receipt import DeadState, Settlement, Usage
from headwater.model.version import Version
from headwater.testing.log_bench import MANY, MUCH, offsets, receipt
from tests.integration.kafka.logs import Logs, opened_transaction
from tests.kafka.client import Kafka
from tests.kafka.process import soon

WAYS = [
    Membership(rebalance="cooperative", receipts="transactional"),
    Membership(rebalance="consumer", receipts="transactional"),
    Membership(rebalance="cooperative", receipts="plain"),
]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda it: f"{it.rebalance}-{it.receipts}")


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 60)

    asyncio.run(bounded())


async def until(reader: KafkaReader, wanted: Callable[[Batch], object], *, records: int = MANY) -> Batch:
    """Poll until a batch is as wanted."""
    while True:
        batch = await reader.poll(records, MUCH, 0.2)
        if wanted(batch):
            return batch


@each_way
def test_a_partition_that_stays_is_settled_all_through_a_rebalance(kafka: Kafka, way: Membership) -> None:
    log = Logs(kafka, membership=way)

    async def scenario() -> None:
        first, second = log.reader(partitions=4), log.reader(partitions=4)
        assert set((await until(first, lambda it: it.assigned)).assigned) == {0, 1, 2, 3}
        held, lost_in_vain = {0, 1, 2, 3}, 0
        joined = asyncio.ensure_future(until(second, lambda it: it.assigned))
        while not joined.done():
            batch = await first.poll(MANY, MUCH, 0.02)
            held -= batch.revoked
            assert not batch.assigned
            try:
                await first.settle(Settlement(dict.fromkeys(held, 0), (), Usage(1, 0, 0, 0)))
            except Lost:
                lost_in_vain += 1
        assert lost_in_vain == 0
        assert set(joined.result().assigned) == {0, 1, 2, 3} - held
        await first.close()
        await second.close()

    play(scenario)


@each_way
def test_a_partition_that_came_back_begins_where_the_other_settled(kafka: Kafka, way: Membership) -> None:
    log = Logs(kafka, membership=way)

    async def scenario() -> None:
        writer = log.writer(partitions=2)
        await writer.append([Outgoing(b"k%d" % number, b"v") for number in range(40)])
        first, second = log.reader(partitions=2), log.reader(partitions=2)
        await until(first, lambda it: it.records)
        joined = asyncio.ensure_future(until(second, lambda it: it.assigned, records=0))
        (moved,) = (await until(first, lambda it: it.revoked, records=0)).revoked
        await first.poll(0, 0, 0)
        await joined
        await second.settle(Settlement({moved: 5}))
        await second.close()
        thread = first._thread
        assert thread is not None
        assert await asyncio.to_thread(soon, lambda: moved in thread._held, 30)
        with pytest.raises(Lost):  # it is this reader's again, which has not heard of it: its work is of the old time
            await first.settle(Settlement({moved: 3}))
        batch = await until(first, lambda it: it.assigned)
        assert (batch.assigned, list(batch.records)) == ({moved: 5}, [])
        # What was fetched of the other partition may come first.
        batch = await until(first, lambda it: any(record.partition == moved for record in it.records))
        assert next(it.offset for it in batch.records if it.partition == moved) == 5
        await first.close()
        await writer.close()

    play(scenario)


def test_a_backlog_is_not_held_in_memory(kafka: Kafka) -> None:
    log = Logs(kafka)
    value = os.urandom(10_000)

    async def scenario() -> None:
        writer, reader = log.writer(), log.reader()
        for start in range(0, 3000, 500):
            await writer.append([Outgoing(b"%d" % (start + number), value) for number in range(500)])
        first = await until(reader, lambda it: it.records)
        assert reader._thread is not None
        buffers = reader._thread._buffers
        largest = 0
        for _ in range(15):
            await asyncio.sleep(0.1)
            largest = max(largest, buffers[0].size_bytes)
        # One consume call may bring 500 records after the last look at the bound.
        assert BUFFERED_BYTES // 2 < largest <= BUFFERED_BYTES + 500 * 11_000
        found = offsets(first.records)
        while len(found) < 3000:
            found += offsets((await until(reader, lambda it: it.records)).records)
            assert buffers[0].size_bytes <= BUFFERED_BYTES + 500 * 11_000
        assert found == list(range(3000))
        await reader.close()
        await writer.close()

    play(scenario)


def test_full_buffers_of_a_partition_that_went_do_not_stop_it_when_it_comes_back(kafka: Kafka) -> None:
    log = Logs(kafka)
    value = os.urandom(10_000)

    async def scenario() -> None:
        writer, reader = log.writer(), log.reader()
        for start in range(0, 2000, 500):
            await writer.append([Outgoing(b"%d" % (start + number), value) for number in range(500)])
        await until(reader, lambda it: it.assigned, records=0)
        thread = reader._thread
        assert thread is not None
        assert await asyncio.to_thread(soon, lambda: thread._buffers[0].paused, 20)
        thread.reclaim([0])
        assert (await until(reader, lambda it: it.assigned, records=0)).assigned == {0: 0}
        found: list[int] = []
        while len(found) < 2000:
            found += offsets((await until(reader, lambda it: it.records)).records)
        assert found == list(range(2000))
        await reader.close()
        await writer.close()

    play(scenario)


def test_an_open_transaction_holds_the_end_and_its_records_back(kafka: Kafka) -> None:
    log = Logs(kafka)

    async def scenario() -> None:
        writer, reader = log.writer(), log.reader()
        await writer.append([Outgoing(b"a", b"1")])
        await asyncio.to_thread(log.transaction, [(b"b", b"2")], commit=True)
        open_one = await asyncio.to_thread(opened_transaction, kafka, log.topic, [(b"c", b"3")])
        await writer.append([Outgoing(b"d", b"4")])
        found: list[int] = []
        ends: dict[int, int] = {}
        while not ends:
            batch = await until(reader, any)
            found += offsets(batch.records)
            ends = dict(batch.ends)
        assert (found, ends) == ([0, 1], {0: 3})  # 2 is the marker of what was committed
        assert not any(await reader.poll(MANY, MUCH, 0.5))
        await asyncio.to_thread(open_one.commit_transaction, 10)
        while len(found) < 4:
            found += offsets((await until(reader, lambda it: it.records)).records)
        assert found == [0, 1, 3, 4]
        await reader.close()
        await writer.close()

    play(scenario)


def test_a_dead_letter_moves_though_a_transaction_is_open_before_it(kafka: Kafka) -> None:
    log = Logs(kafka)

    async def scenario() -> None:
        writer, reader, ledger = log.writer(), log.reader(), log.ledger()
        await writer.append([Outgoing(b"a", b"1")])
        (record,) = (await until(reader, lambda it: it.records)).records
        await reader.settle(Settlement({0: 1}, (receipt(record, Outcome.DEAD),)))
        assert len(await ledger.dead(frozenset(DeadState))) == 1  # though the marker may not be there yet
        # A settlement of another worker is under way.
        open_one: Producer = await asyncio.to_thread(opened_transaction, kafka, log.dead, [(b"x", b"")])
        moving = asyncio.ensure_future(ledger.move("a", Version(1, 0, 0, 0), DeadState.OPEN, DeadState.DISCARDED))
        await asyncio.sleep(0.5)
        assert not moving.done()
        await asyncio.to_thread(open_one.abort_transaction, 10)
        assert await moving
        for it in (writer, reader, ledger):
            await it.close()

    play(scenario)


@each_way
def test_a_closed_reader_settles_nothing(kafka: Kafka, way: Membership) -> None:
    log = Logs(kafka, membership=way)

    async def scenario() -> None:
        writer, reader, history = log.writer(), log.reader(), log.history()
        await writer.append([Outgoing(b"a", b"1")])
        (record,) = (await until(reader, lambda it: it.records)).records
        await reader.close()
        with pytest.raises(Lost):
            await reader.settle(Settlement({0: 1}, (receipt(record),)))
        assert (await history.watermarks())[0].committed == 0
        await writer.close()
        await history.close()

    play(scenario)


def test_a_reader_that_is_closed_while_it_joins_joins_no_more(kafka: Kafka) -> None:
    log = Logs(kafka)

    async def scenario() -> None:
        reader = log.reader()
        joining = asyncio.ensure_future(reader.poll(MANY, MUCH, 30))
        await asyncio.sleep(0)
        await reader.close()
        assert not any(await asyncio.wait_for(joining, 5))
        assert not any(await reader.poll(MANY, MUCH, 30))

    play(scenario)


def test_a_larger_record_than_the_topic_takes_is_named(kafka: Kafka) -> None:
    log = Logs(kafka, max_message_bytes="10000")

    async def scenario() -> None:
        writer = log.writer()
        with pytest.raises(Reject) as caught:
            await writer.append([Outgoing(b"a", b"1"), Outgoing(b"b", os.urandom(20_000)), Outgoing(b"c", b"1")])
        assert caught.value.index == 1  # though the broker refused the three together
        await writer.append([Outgoing(b"d", b"1")])
        await writer.close()

    play(scenario)


def sockets(port: int) -> int:
    found = psutil.Process().net_connections("tcp")
    return len([it for it in found if it.raddr[1:] == (port,) and it.status == psutil.CONN_ESTABLISHED])


@pytest.fixture
def started() -> Callable[[], set[str]]:
    """The names of threads that were started since."""
    before = set(threading.enumerate())
    return lambda: {it.name for it in set(threading.enumerate()) - before if it.is_alive()}


def test_what_is_closed_leaves_no_thread_and_no_connection(kafka: Kafka, started: Callable[[], set[str]]) -> None:
    log = Logs(kafka)
    log.make()
    port = int(kafka.bootstrap.rpartition(":")[2])
    before, threads = sockets(port), psutil.Process().num_threads()

    async def scenario() -> None:
        writer, reader, history = log.writer(), log.reader(), log.history()
        ledger, registry = log.ledger(), log.registry()
        await writer.append([Outgoing(b"a", b"1"), Outgoing(b"b", b"1")])
        records = (await until(reader, lambda it: it.records)).records
        await reader.settle(Settlement({0: 1}, (receipt(records[0], Outcome.DEAD),)))
        reading = history.read(0, 0, 2)
        await anext(reading)
        assert isinstance(reading, AsyncGenerator)
        await ledger.totals()
        await ledger.dead(frozenset(DeadState))
        await registry.read("s")
        assert sockets(port) > before
        for it in (writer, reader, history, ledger, registry):
            await it.close()
            await it.close()
        await reading.aclose()

    play(scenario)
    assert soon(lambda: started() == set(), 10), started()
    assert soon(lambda: sockets(port) <= before, 10)
    assert soon(lambda: psutil.Process().num_threads() <= threads, 10)
