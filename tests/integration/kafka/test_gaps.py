"""What the log lacks is reported, never skipped (G12): trimmed, made anew, made shorter, grown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from confluent_kafka import Producer

from headwater.engine.loop import Limits
from headwater.engine.supervisor import End, Ended
from headwater.errors import Halt
from headwater.log.port import LogReader
from headwater.model.receipt import Settlement
from headwater.observability.signals import Event
from headwater.testing.passing import PassingReader
from tests.integration.kafka.pipeline import Pipeline, play, records, value
from tests.kafka.client import Kafka


def halted(ended: Ended, invariant: str) -> str:
    print(ended.reason)
    assert ended.end is End.HALTED, ended
    assert isinstance(ended.error, Halt)
    assert ended.error.invariant == invariant
    return str(ended.error)


@pytest.fixture
def pipeline(kafka: Kafka, tmp_path: Path) -> Pipeline:
    return Pipeline(kafka, tmp_path)


def test_records_that_went_before_they_were_read(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(*records(["A", "B"]))
        await stream.once()
        await stream.say(("d0", "AB"), ("d1", None), ("e", "C"))
        stream.trim(4)
        told = halted(await stream.once(), "log-truncation-gap")
        assert "partition 0 is needed from offset 2, and the log begins at 4" in told
        assert "Build a new index from the log" in told
        assert await stream.shown() == {"d0": "A", "d1": "B"}, "nothing behind the gap was applied"
        assert await stream.committed() == 2
        # The cure: a new index of what the log still holds.
        stream.path.unlink()
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"e": "C"}
        assert await stream.committed() == 5

    play(pipeline, story)


def test_a_worker_that_never_read_a_trimmed_topic_begins_where_it_begins(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(*records(["A", "B", "C"]))
        stream.trim(2)
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"d2": "C"}

    play(pipeline, story)


def test_records_that_go_while_the_worker_stands_still(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(*records(["A"] * 200))
        stream.model.back.clear()
        limits = Limits(poll_wait_s=0.05, poll_records=10, open_records=20)
        worker = stream.worker(limits=limits)
        task = asyncio.ensure_future(worker.run(once=False))

        async def joined() -> bool:
            return bool(stream.heard(Event.PARTITIONS_MOVED))

        await stream.until(joined)
        # The client has read ahead what it may hold; what lies further is trimmed, and so is what comes next.
        last = 200 + 450
        stream.put(*((f"x{number}", "C") for number in range(450)), padding=90_000)
        await stream.clock.sleep(1)
        stream.trim(last - 1)
        stream.model.back.set()
        told = halted(await asyncio.wait_for(task, 60), "log-truncation-gap")
        assert "which the log does not hold" in told
        at = await stream.committed()
        assert at < last - 1
        assert "x449" not in await stream.shown(), "what lies behind the gap was not applied"

    play(pipeline, story)


def test_history_that_goes_while_a_new_index_is_built_from_it(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(*records(["A"] * 50))
        await stream.once()
        stream.path.unlink()
        stream.model.back.clear()
        stream.events.clear()  # else the first worker's partitions would be taken for the second's
        limits = Limits(poll_wait_s=0.05, poll_records=5, open_records=10, works=1, work_documents=5)
        task = asyncio.ensure_future(stream.worker(limits=limits).run(once=True))

        async def stuck() -> bool:
            return bool(stream.heard(Event.PARTITIONS_MOVED))

        await stream.until(stuck)
        await stream.clock.sleep(0.5)
        stream.trim(40)
        stream.model.back.set()
        told = halted(await asyncio.wait_for(task, 40), "log-truncation-gap")
        assert "partition 0 is needed from offset" in told
        assert "the log begins at 40" in told
        assert not {"d40", "d49"} & (await stream.shown()).keys()

    play(pipeline, story)


def test_a_topic_that_was_made_anew_between_two_runs(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(*records(["A", "B", "C"]))
        await stream.once()
        stream.remake()
        await stream.say(("d0", "AB"), ("d0", "ABC"), ("d1", "AC"), ("new", "D"))
        told = halted(await stream.once(), "log-rewind")
        assert "the index was built from another log" in told
        assert "headwater resume s --accept-log-epoch" in told
        assert await stream.shown() == {"d0": "A", "d1": "B", "d2": "C"}
        await stream.accept()
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"d0": "ABC", "d1": "AC", "d2": "C", "new": "D"}
        assert await stream.committed() == 4

    play(pipeline, story)


@pytest.mark.parametrize("records_after", [0, 2, 30])
def test_a_topic_that_is_made_anew_under_a_running_worker(pipeline: Pipeline, records_after: int) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(*records(["A"] * 5))
        task = asyncio.ensure_future(stream.worker().run(once=False))
        await stream.until_shown({f"d{number}": "A" for number in range(5)})
        await asyncio.to_thread(stream.remake)
        if records_after:
            await stream.say(*records(["B"] * records_after))
        ended = await asyncio.wait_for(task, 60)
        print(ended.reason)
        assert ended.end is End.HALTED
        assert "log-rewind" in ended.reason or "no such topic" in ended.reason
        assert await stream.shown() == {f"d{number}": "A" for number in range(5)}
        assert "the index was built from another log" in halted(await stream.once(), "log-rewind")

    play(pipeline, story)


def test_a_topic_that_is_gone(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(*records(["A"]))
        task = asyncio.ensure_future(stream.worker().run(once=False))
        await stream.until_shown({"d0": "A"})
        stream.delete()
        ended = await asyncio.wait_for(task, 60)
        print(ended.reason)
        assert ended.end is End.HALTED
        assert "no such topic" in ended.reason

    play(pipeline, story)


class Zombie(PassingReader):
    """A reader whose settlements wait until the test lets them go."""

    def __init__(self, inner: LogReader, go: asyncio.Event) -> None:
        super().__init__(inner)
        self.go = go

    async def settle(self, settlement: Settlement) -> None:
        await self.go.wait()
        await self.inner.settle(settlement)


def test_duplicates_and_gaps_between_offsets_are_none_in_the_log(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        # Aborted transactions leave gaps; a crash before the settlement brings records again.
        producer = Producer(stream.kafka.settings(transactional_id=stream.prefix))
        producer.init_transactions()
        for commit in (False, True, False):
            producer.begin_transaction()
            producer.produce(stream.changes, value("d", "AB" if commit else "C"), b"d", partition=0)
            producer.flush(10)
            producer.commit_transaction() if commit else producer.abort_transaction()
        never = asyncio.Event()
        doomed = asyncio.ensure_future(stream.worker(reader=lambda it: Zombie(it, never)).run(once=False))
        await stream.until_shown({"d": "AB"})
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"d": "AB"}
        assert await stream.outcomes("d") == [("1.0.0.2", "indexed")]
        assert await stream.committed() == 6

    play(pipeline, story)
