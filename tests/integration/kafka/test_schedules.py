"""The named schedules on a real broker, zombies included: a worker sleeps with what it read, and wakes too late."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from headwater.engine.discard import discard
from headwater.engine.supervisor import End
from headwater.indexes.port import IndexWriter
from headwater.indexes.sqlite import SqliteIndexWriter
from headwater.log.port import Batch, LogReader
from headwater.model.generation import Position
from headwater.model.manifest import Answer, Cap, Mark, Verdict, Write
from headwater.model.receipt import DeadState, Settlement
from headwater.model.registry import StreamState
from headwater.model.version import Version
from headwater.observability.signals import Event
from headwater.testing.passing import PassingReader
from tests.integration.engine.harness import GENERATION, STREAM
from tests.integration.kafka.pipeline import Pipeline, play
from tests.kafka.client import Kafka


@pytest.fixture
def pipeline(kafka: Kafka, tmp_path: Path) -> Pipeline:
    return Pipeline(kafka, tmp_path)


class Sleeper:
    """Wraps a worker's reader and index: it reads once, and then sleeps before its first apply until it is woken."""

    def __init__(self, *, unfenced: bool = False) -> None:
        self.asleep = asyncio.Event()
        self.woken = asyncio.Event()
        self.applied: list[Answer] = []
        self.settled: list[Settlement] = []
        self.unfenced = unfenced

    def reader(self, inner: LogReader) -> LogReader:
        return _SleepingReader(inner, self)

    def writer(self, inner: IndexWriter) -> IndexWriter:
        return _SleepingWriter(inner, self)


class _SleepingReader(PassingReader):
    def __init__(self, inner: LogReader, sleeper: Sleeper) -> None:
        super().__init__(inner)
        self._sleeper = sleeper
        self._read = False

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        if self._read:
            await asyncio.Event().wait()  # a poll would tell it that it was expelled, and end it before its settlement
        batch = await super().poll(max_records, max_bytes, wait_s)
        self._read = bool(batch.records)
        return batch

    async def settle(self, settlement: Settlement) -> None:
        if self._sleeper.unfenced:
            settlement = msgspec.structs.replace(settlement, frontier={}, caught={})
        await super().settle(settlement)
        self._sleeper.settled.append(settlement)


class _SleepingWriter:
    def __init__(self, inner: IndexWriter, sleeper: Sleeper) -> None:
        self._inner, self._sleeper = inner, sleeper
        self.manifests, self.vectors, self.purge = inner.manifests, inner.vectors, inner.purge
        self.generation, self.close = inner.generation, inner.close

    async def apply(self, writes: Sequence[Write | Mark], positions: Sequence[Position] = ()) -> list[Answer]:
        self._sleeper.asleep.set()
        await self._sleeper.woken.wait()
        answers = await self._inner.apply(writes, positions)
        self._sleeper.applied += answers
        return answers


async def ended(task: asyncio.Task[object]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# --- C5


def test_c5_mirrored_history_in_a_new_epoch(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(("d", "A"), ("d", None), ("e", "B"), ("e", "BC"))
        await stream.once()
        stream.remake()
        # What a migration copies bears its first place; it lost the delete, and got the order wrong.
        for text, document, version in (("A", "d", b"1.0.0.0"), ("BC", "e", b"1.0.0.3"), ("B", "e", b"1.0.0.2")):
            stream.put((document, text), headwater_version=version)
        stream.put(("f", "D"))
        await stream.accept()
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"e": "BC", "f": "D"}, "no copy is newer than what it copies"
        assert ("2.0.0.3", "indexed") in await stream.outcomes("f")
        stream.put(("d", "C"))
        await stream.once()
        assert (await stream.shown())["d"] == "C", "a later change of its own does bring it back"

    play(pipeline, story)


# --- C7


def test_c7_partitions_added_between_two_runs(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(("d", "A"), ("e", "B"), ("d", "AB"))
        await stream.once()
        stream.grow(3)
        stream.put(("d", "C"), partition=2)
        stream.put(("e", None), ("e", "BC"), partition=1)
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"d": "C", "e": "BC"}
        epochs = (await stream.state()).epochs
        assert [(it.number, it.partitions, it.boundaries) for it in epochs] == [
            (1, 1, {}),
            (2, 3, {0: 3, 1: 0, 2: 0}),
        ]
        # The receipts' topic has one partition still: what became of the change in partition 2 stands in it.
        assert ("2.0.2.0", "indexed") in await stream.outcomes("d")
        assert await stream.committed(2) == 1

    play(pipeline, story)


def test_c7_partitions_added_while_a_worker_of_a_fixed_name_is_away(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(("d", "A"))
        assert (await stream.worker(instance="one").run(once=True)).end is End.DONE
        stream.grow(2)
        stream.put(("d", "C"), partition=1)
        assert (await stream.worker(instance="one").run(once=True)).end is End.DONE
        assert await stream.shown() == {"d": "C"}

    play(pipeline, story)


def test_c7_partitions_added_while_workers_run(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(("d", "A"), ("e", "B"))
        workers = [stream.worker(), stream.worker()]
        tasks = [asyncio.ensure_future(it.run(once=False)) for it in workers]
        await stream.until_shown({"d": "A", "e": "B"})
        stream.grow(4)

        async def moved() -> bool:
            started = stream.heard(Event.STREAM_STARTED)
            return len([it for it in started if it["epoch"] == 2]) >= 2

        await stream.until(moved)
        stream.put(("d", "C"), partition=3)
        stream.put(("e", None), partition=1)
        await stream.until_shown({"d": "C"})
        assert [it.number for it in (await stream.state()).epochs] == [1, 2], "one of them began the epoch"
        assert not any(task.done() for task in tasks)
        for worker in workers:
            worker.stop()
        assert [it.end for it in await asyncio.gather(*tasks)] == [End.STOPPED] * 2
        assert any("4 partitions, and had 1" in str(it["reason"]) for it in stream.heard(Event.STREAM_REOPENED))

    play(pipeline, story)


def test_c7_a_zombie_of_the_epoch_before(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(("d", "A"))
        sleeper = Sleeper()
        zombie = stream.worker(reader=sleeper.reader, writer=sleeper.writer, instance="one", look_s=1e6, control_s=1e6)
        task = asyncio.ensure_future(zombie.run(once=False))
        await asyncio.wait_for(sleeper.asleep.wait(), 30)
        stream.grow(2)
        stream.put(("d", "C"), partition=1)
        other = stream.worker()
        going = asyncio.ensure_future(other.run(once=False))
        await stream.until_shown({"d": "C"})
        sleeper.woken.set()

        async def tried() -> bool:
            return bool(sleeper.applied)

        await stream.until(tried)
        await stream.clock.sleep(0.5)
        assert await stream.shown() == {"d": "C"}
        assert {it.verdict for it in sleeper.applied} & {Verdict.STALE, Verdict.CONFLICT}
        assert not going.done()
        other.stop()
        await going
        await ended(task)
        assert ("1.0.0.0", "superseded") in await stream.outcomes("d") or ("1.0.0.0", "stale") in await stream.outcomes(
            "d"
        )

    play(pipeline, story)


# --- C10


def test_c10_of_many_operators_exactly_one_wins(pipeline: Pipeline) -> None:
    won: list[int] = []
    seen: list[StreamState] = []
    start = threading.Barrier(6)

    async def operate(number: int) -> None:
        registry = pipeline.log().registry()
        try:
            for turn in range(3):
                state = await registry.read(STREAM)
                await asyncio.to_thread(start.wait, 30)
                if await registry.advance(STREAM, msgspec.structs.replace(state, paused=f"{turn} {number}")):
                    won.append(turn)
                await asyncio.to_thread(start.wait, 30)
            seen.append(await registry.read(STREAM))
        finally:
            await registry.close()

    threads = [threading.Thread(target=lambda it=number: asyncio.run(operate(it))) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(won) == [0, 1, 2]
    assert len(seen) == 6
    assert len(set(seen)) == 1
    assert seen[0].serial == 3


def test_c10_what_nobody_understands_changes_nothing(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        registry = stream.log().registry()
        assert await registry.advance(STREAM, StreamState(paused="first"))
        producer = Producer(stream.kafka.settings())
        strange = (
            b'{"kind":"of tomorrow","stream":"s"}',
            b'{"kind":"stream","stream":"s","exp',
            b"",
            b"\xff",
            b"null",
            b"[]",
        )
        for value in strange:
            producer.produce(f"{stream.prefix}.control", value, STREAM.encode())
        producer.produce(f"{stream.prefix}.control", None, STREAM.encode())
        assert producer.flush(20) == 0
        late = stream.log().registry()
        for it in (registry, late):
            state = await it.read(STREAM)
            assert (state.serial, state.paused) == (1, "first")
        assert not await late.advance(STREAM, StreamState(serial=0, paused="outdated"))
        assert await late.advance(STREAM, StreamState(serial=1, paused=""))
        assert (await registry.read(STREAM)).serial == 2
        await registry.close()
        await late.close()
        await stream.say(("d", "A"))
        assert (await stream.once()).end is End.DONE

    play(pipeline, story)


# --- C13 and C14


def test_c13_hidden_released_and_hidden_by_a_zombie(pipeline: Pipeline) -> None:
    async def story(stream: Pipeline) -> None:
        await stream.say(("d", "AB"))
        await stream.once()
        writer = SqliteIndexWriter(stream.path, STREAM, GENERATION)
        stored = (await writer.manifests(["d"]))["d"]
        # A narrower change that is dead hides the document: as access control does it, which is not wired yet.
        hidden = Mark(id="d", recipe=1, base=stored.revision, cap=Cap(Version(1, 0, 0, 1), ("nobody",)), time_us=0)
        assert (await writer.apply([hidden]))[0].verdict is Verdict.APPLIED
        await stream.say(("d", "A!"))
        sleeper = Sleeper()
        zombie = stream.worker(reader=sleeper.reader, writer=sleeper.writer, instance="one", control_s=1e6)
        task = asyncio.ensure_future(zombie.run(once=False))
        await asyncio.wait_for(sleeper.asleep.wait(), 30)  # it is about to write the cap again
        other = stream.worker(instance="one")
        going = asyncio.ensure_future(other.run(once=False))

        async def dead() -> bool:
            return bool(await stream.letters(DeadState.OPEN))

        await stream.until(dead)
        ledger, reader = stream.log().ledger(STREAM, 1), stream.log().reader(STREAM, stream.group, 1, stream.emit)
        assert await discard((await stream.letters())[0], ledger, writer, reader, stream.clock)
        released = (await writer.manifests(["d"]))["d"]
        assert released.cap is None
        sleeper.woken.set()

        async def tried() -> bool:
            return bool(sleeper.applied)

        await stream.until(tried)
        await stream.clock.sleep(0.5)
        assert sleeper.applied[0].verdict is Verdict.CONFLICT
        assert (await writer.manifests(["d"]))["d"].cap is None
        assert await stream.shown() == {"d": "AB"}
        assert [it.state for it in await stream.letters()] == [DeadState.DISCARDED]
        other.stop()
        await going
        await ended(task)
        await asyncio.gather(reader.close(), ledger.close(), writer.close())

    play(pipeline, story)


@pytest.mark.parametrize("unfenced", [False, True])
def test_c14_a_discarded_dead_letter_after_a_crash_and_a_zombie(pipeline: Pipeline, unfenced: bool) -> None:
    """`unfenced`: its settlement comes without offsets, so that no fence of the group keeps its receipt out."""

    async def story(stream: Pipeline) -> None:
        await stream.say(("d", "AB"))
        await stream.once()
        await stream.say(("d", "A!"))
        sleeper = Sleeper(unfenced=unfenced)
        zombie = stream.worker(reader=sleeper.reader, writer=sleeper.writer, instance="one", control_s=1e6)
        task = asyncio.ensure_future(zombie.run(once=False))
        await asyncio.wait_for(sleeper.asleep.wait(), 30)
        other = stream.worker(instance="one")
        going = asyncio.ensure_future(other.run(once=False))

        async def dead() -> bool:
            return bool(await stream.letters(DeadState.OPEN))

        await stream.until(dead)
        ledger, reader = stream.log().ledger(STREAM, 1), stream.log().reader(STREAM, stream.group, 1, stream.emit)
        writer = SqliteIndexWriter(stream.path, STREAM, GENERATION)
        letter = (await stream.letters())[0]
        assert await discard(letter, ledger, writer, reader, stream.clock)
        assert not await discard(letter, ledger, writer, reader, stream.clock), "it is discarded already"
        sleeper.woken.set()
        if unfenced:

            async def settled() -> bool:
                return bool(sleeper.settled)

            await stream.until(settled)
        else:
            await stream.clock.sleep(1)
            assert not sleeper.settled
        assert [it.state for it in await stream.letters()] == [DeadState.DISCARDED]
        other.stop()
        await going
        await ended(task)
        # And once more after a crash that left no offset: the group's offsets are gone.
        assert (await stream.once()).end is End.DONE
        assert [it.state for it in await stream.letters()] == [DeadState.DISCARDED]
        assert await stream.shown() == {"d": "AB"}
        await asyncio.gather(reader.close(), ledger.close(), writer.close())

    play(pipeline, story)
