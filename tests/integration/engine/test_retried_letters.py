"""Retried dead letters among several workers: each is worked on by whoever has its partition, and by nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from headwater.embedding.port import PROBE
from headwater.engine.loop import Limits
from headwater.engine.supervisor import End
from headwater.indexes.port import IndexWriter
from headwater.log.port import LogReader
from headwater.model.generation import Position
from headwater.model.manifest import Answer, Mark, Write
from headwater.model.receipt import DeadState, Settlement
from tests.integration.engine.harness import GENERATION, STREAM, Stream, play


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_of_two_workers_one_takes_a_letter(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "A!"))
        await stream.once()
        stream.model.texts.clear()
        workers = [stream.worker() for _ in range(2)]
        running = [asyncio.ensure_future(worker.run(once=False)) for worker in workers]
        await stream.say(("e", "B"))
        await stream.until(lambda: _shows(stream, "e"))
        stream.model.texts.clear()
        (letter,) = await stream.letters()
        ledger = stream.log.ledger(STREAM, GENERATION)
        assert await ledger.move("d", letter.version, DeadState.OPEN, DeadState.RETRYING)
        await stream.until(lambda: _tried(stream, 2))
        await stream.clock.sleep(0.3)  # several looks of the other one
        assert await _tried(stream, 2)
        # Before a text is blamed, a known good one is tried: so many were blamed.
        assert stream.model.texts.count(PROBE) == 2  # what it takes to blame a text once
        for worker in workers:
            worker.stop()
        assert {it.end for it in await asyncio.gather(*running)} == {End.STOPPED}

    play(kind, tmp_path, story)


def test_more_letters_than_there_is_room_for_are_all_retried_before_the_goal_is_reached(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        names = [f"d{it}" for it in range(12)]
        await stream.say(*((name, "A!") for name in names))
        await stream.worker(limits=Limits(poll_wait_s=0.05)).run(once=True)
        ledger = stream.log.ledger(STREAM, GENERATION)
        for letter in await stream.letters():
            assert await ledger.move(letter.document, letter.version, DeadState.OPEN, DeadState.RETRYING)
        stream.model.inner.healed = True
        ended = await stream.worker(limits=Limits(poll_wait_s=0.05, open_records=3)).run(once=True)
        assert ended.end is End.DONE
        assert sorted(await stream.shown()) == sorted(names)
        assert {it.state for it in await stream.letters()} == {DeadState.SETTLED}

    play("memory", tmp_path, story)


def test_a_letter_is_retried_although_the_stream_is_never_done(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "A!"))
        await stream.once()
        (letter,) = await stream.letters()
        stream.model.inner.healed = True
        assert await stream.log.ledger(STREAM, GENERATION).move("d", letter.version, DeadState.OPEN, DeadState.RETRYING)
        await stream.say(*((f"e{it}", "AB") for it in range(2000)))
        limits = Limits(poll_wait_s=0.05, poll_records=30, open_records=4, full_wait_s=0.01, work_documents=4)
        worker = stream.worker(writer=lambda it: SlowlyApplying(it, stream), limits=limits)
        running = asyncio.ensure_future(worker.run(once=False))
        await stream.clock.sleep(8)
        assert "d" in await stream.shown(), (len(await stream.shown()), await stream.letters())
        assert len(await stream.shown()) < 1000, "not at the end of all"
        worker.stop()
        await running

    play("memory", tmp_path, story)


def test_a_letter_is_taken_once_however_long_its_settlement_takes(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "A!"))
        await stream.once()
        (letter,) = await stream.letters()
        assert await stream.log.ledger(STREAM, GENERATION).move("d", letter.version, DeadState.OPEN, DeadState.RETRYING)
        stream.model.texts.clear()
        ended = await stream.worker(reader=lambda it: SlowlySettling(it, stream)).run(once=True)
        assert ended.end is End.DONE
        assert stream.model.texts.count(PROBE) == 2  # what it takes to blame a text once
        assert await _tried(stream, 2)

    play("memory", tmp_path, story)


class SlowlyApplying:
    """An index that takes a second and more for each apply."""

    def __init__(self, writer: IndexWriter, stream: Stream) -> None:
        self._stream = stream
        self._inner = writer
        self.manifests = writer.manifests
        self.vectors = writer.vectors
        self.purge = writer.purge
        self.generation = writer.generation
        self.close = writer.close

    async def apply(self, writes: Sequence[Write | Mark], positions: Sequence[Position] = ()) -> list[Answer]:
        await self._stream.clock.sleep(1.013)  # off the beat of the looks
        return await self._inner.apply(writes, positions)


class SlowlySettling:
    """A log's reader whose settlements take as long as many looks at the letters."""

    def __init__(self, reader: LogReader, stream: Stream) -> None:
        self._stream = stream
        self._inner = reader
        self.poll = reader.poll
        self.close = reader.close

    async def settle(self, settlement: Settlement) -> None:
        await self._stream.clock.sleep(1)
        await self._inner.settle(settlement)


async def _shows(stream: Stream, document: str) -> bool:
    return document in await stream.shown()


async def _tried(stream: Stream, times: int) -> bool:
    (letter,) = await stream.letters()
    return (letter.state, letter.attempts) == (DeadState.OPEN, times)
