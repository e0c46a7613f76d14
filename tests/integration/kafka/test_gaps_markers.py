"""Delete markers that a compacted topic no longer keeps (schedule C4): a worker that may have missed one halts."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition

from headwater.clock import SystemClock
from headwater.engine.loop import Limits
from headwater.engine.supervisor import End
from headwater.log.kafka_records import decode_caught, encode_caught
from headwater.model.receipt import CaughtUp
from headwater.observability.signals import Event
from tests.integration.kafka.pipeline import Pipeline, play, records, value
from tests.integration.kafka.test_gaps import halted
from tests.kafka.client import Kafka

COMPACTED = {
    "cleanup.policy": "compact",
    "delete.retention.ms": "600000",
    "min.cleanable.dirty.ratio": "0.001",
    "segment.ms": "100",
    "min.compaction.lag.ms": "0",
    "max.compaction.lag.ms": "100",
}


@pytest.fixture
def pipeline(kafka: Kafka, tmp_path: Path) -> Pipeline:
    return Pipeline(kafka, tmp_path, config=COMPACTED)


async def compacted(stream: Pipeline, document: str) -> None:
    """Wait until the log holds nothing of a document any more."""
    history = stream.history()
    for number in range(600):
        marks = (await history.watermarks())[0]
        held = [it.key async for it in history.read(0, marks.low, marks.high)]
        if document.encode() not in held:
            return
        stream.put(("filler", f"A{'B' * (number % 3)}"))  # what is written last is never compacted
        await stream.clock.sleep(0.1)
    raise AssertionError("it was never compacted")


def test_a_marker_that_expired_while_the_worker_was_away(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        stream.put(("d", "A"), ("e", "B"))
        await stream.once()
        assert await stream.shown() == {"d": "A", "e": "B"}
        stream.configure(delete_retention_ms="500")
        stream.put(("d", None))
        await compacted(stream, "d")
        told = halted(await stream.once(), "missed-delete-marker")
        assert "since partition 0 was read to its end" in told
        assert "delete.retention.ms" in told
        assert "build a new index from the log" in told
        assert (await stream.shown())["d"] == "A", "it is not known here that it was deleted: that is why it halts"
        assert "filler" not in await stream.shown(), "nothing behind was applied"
        stream.path.unlink()
        stream.configure(delete_retention_ms="600000")
        assert (await stream.once()).end is End.DONE
        assert (await stream.shown()).keys() == {"e", "filler"}

    play(pipeline, story)


def test_a_worker_that_is_quick_enough_meets_the_marker(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        stream.put(("d", "A"), ("e", "B"))
        await stream.once()
        stream.put(("d", None))
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"e": "B"}
        stream.configure(delete_retention_ms="500")
        await compacted(stream, "d")
        halted(await stream.once(), "missed-delete-marker")

    play(pipeline, story)


def test_a_worker_at_the_end_may_have_been_away_for_long(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        stream.put(("d", "A"))
        await stream.once()
        stream.configure(delete_retention_ms="10")
        await stream.clock.sleep(0.5)
        stream.configure(delete_retention_ms="20000")
        assert (await stream.once()).end is End.DONE
        stream.put(("d", None))
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {}

    play(pipeline, story)


def test_a_pass_that_takes_longer_than_a_marker_lives(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        stream.put(*records(["A"] * 100))
        stream.model.back.clear()
        stream.configure(delete_retention_ms="4000")
        limits = Limits(poll_wait_s=0.05, poll_records=10, open_records=20)
        task = asyncio.ensure_future(stream.worker(limits=limits).run(once=True))

        async def joined() -> bool:
            return bool(stream.heard(Event.PARTITIONS_MOVED))

        await stream.until(joined)
        await stream.clock.sleep(5)
        stream.model.back.set()
        halted(await asyncio.wait_for(task, 40), "missed-delete-marker")
        assert 0 < len(await stream.shown()) < 60

    play(pipeline, story)


def test_a_worker_that_idles_at_the_end_stays_current(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        stream.configure(delete_retention_ms="4000")
        stream.put(("d", "A"))
        worker = stream.worker()
        task = asyncio.ensure_future(worker.run(once=False))
        await stream.until_shown({"d": "A"})
        first = await caught(stream)
        await stream.clock.sleep(6)
        assert (await caught(stream)).at_us > first.at_us + 4_000_000
        stream.put(("d", None))
        await stream.until_shown({})
        worker.stop()
        assert (await task).end is End.STOPPED

    play(pipeline, story)


async def caught(stream: Pipeline) -> CaughtUp:
    found = (await stream.history().watermarks())[0].caught
    assert found is not None
    return found


def test_how_current_it_is_survives_a_kill_before_the_first_settlement(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        stream.put(("d", "A"), ("e", "B"))
        stream.model.back.clear()
        task = asyncio.ensure_future(stream.worker().run(once=False))

        async def joined() -> bool:
            return bool(stream.heard(Event.PARTITIONS_MOVED)) and (await marks())[1] is not None

        async def marks() -> tuple[int, CaughtUp | None]:
            found = (await stream.history().watermarks())[0]
            return found.committed, found.caught

        await stream.until(joined)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        stream.model.back.set()
        began = await marks()
        assert began[0] == 0
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"d": "A", "e": "B"}
        at = await marks()
        assert at[0] == 2
        assert at[1] is not None
        assert at[1].offset <= 2

    play(pipeline, story)


def test_records_with_old_times_halt_nothing(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        stream.configure(delete_retention_ms="60000")
        producer = Producer(stream.kafka.settings())
        for number in range(5):
            producer.produce(
                stream.changes, value(f"d{number}", "A"), f"d{number}".encode(), timestamp=1_000_000_000_000
            )
        assert producer.flush(30) == 0
        assert (await stream.once()).end is End.DONE
        producer.produce(stream.changes, None, b"d3", timestamp=1_000_000_000_000)
        assert producer.flush(30) == 0
        assert (await stream.once()).end is End.DONE
        assert (await stream.shown()).keys() == {"d0", "d1", "d2", "d4"}

    play(pipeline, story)


def test_a_restored_index_behind_the_group_cannot_tell_what_it_missed(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        stream.put(("d", "A"), ("e", "B"))
        await stream.once()
        backup = stream.path.with_name("backup.db")
        with closing(sqlite3.connect(stream.path)) as index:
            index.execute("VACUUM INTO ?", (str(backup),))
        stream.put(("d", None), ("e", "C"))
        worker = stream.worker()
        task = asyncio.ensure_future(worker.run(once=False))

        async def noted() -> bool:
            return (await caught(stream)).offset == 4

        await stream.until(noted)
        worker.stop()
        await task
        stream.path = backup
        told = halted(await stream.once(), "missed-delete-marker")
        assert "offset 2 of partition 0 and the log ends at 4" in told

    play(pipeline, story)


class MuchLater(SystemClock):
    def now_us(self) -> int:
        return super().now_us() + 10 * 86_400_000_000


def test_offsets_that_a_tool_reset(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        stream.put(("d", "A"), ("e", "B"))
        await stream.once()
        place = ConsumerGroupTopicPartitions(stream.group, [TopicPartition(stream.changes, 0, 0)])
        for future in stream.admin.alter_consumer_group_offsets([place]).values():
            future.result(20)
        # A young index has missed no marker; of one that is older than they live nothing tells.
        stream.clock = MuchLater()
        halted(await stream.once(), "missed-delete-marker")

    play(pipeline, story)


def test_what_stands_beside_an_offset_is_read_back_and_anything_else_is_not_ours() -> None:
    caught = CaughtUp(1_795_000_000_000_000, 2**62)
    assert decode_caught(encode_caught(caught)) == caught
    assert [decode_caught(it) for it in (None, "", "x", "{}", '{"at_us": 1}', '{"at_us": "1", "offset": 1}')] == [
        None
    ] * 6
