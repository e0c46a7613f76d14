"""The named schedules that need the engine, and what it promises beside them. The others are in the index contract."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from headwater.engine.discard import discard
from headwater.engine.loop import Limits
from headwater.engine.supervisor import End
from headwater.errors import Misconfigured, Retry
from headwater.indexes.port import IndexWriter
from headwater.log.codecs.json import unreadable
from headwater.log.port import LogReader
from headwater.model.change import Outgoing
from headwater.model.generation import Position
from headwater.model.manifest import Answer, Mark, State, Write
from headwater.model.receipt import DeadState, Settlement
from headwater.observability.signals import Event
from headwater.testing.passing import PassingReader
from tests.integration.engine.harness import STREAM, Stream, play

pytestmark = pytest.mark.parametrize("kind", ["memory", "sqlite"])


class NeverSettles(PassingReader):
    """A log reader of a worker that dies before its first commit."""

    def __init__(self, inner: LogReader) -> None:
        super().__init__(inner)
        self.reached = asyncio.Event()

    async def settle(self, settlement: Settlement) -> None:
        self.reached.set()
        await asyncio.Event().wait()


class SettlesWithout(PassingReader):
    """A log reader whose commits hold back the offsets: receipts and dead letters are written, as beyond a gap."""

    async def settle(self, settlement: Settlement) -> None:
        await self.inner.settle(msgspec.structs.replace(settlement, frontier={}))


class AppliesPart:
    """An index that applies the first write of its first call with several, and then fails."""

    def __init__(self, inner: IndexWriter) -> None:
        self.inner = inner
        self.failed = False
        self.manifests, self.vectors, self.purge = inner.manifests, inner.vectors, inner.purge
        self.generation, self.close = inner.generation, inner.close

    async def apply(self, writes: Sequence[Write | Mark], positions: Sequence[Position] = ()) -> list[Answer]:
        if len(writes) > 1 and not self.failed:
            self.failed = True
            await self.inner.apply(writes[:1])
            raise Retry("index", "connection reset")
        return await self.inner.apply(writes, positions)


def test_c3_a_delete_before_a_poison_is_not_lost(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "AB"))
        await stream.once()
        await stream.say(("d", None), ("d", "A!"))
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {}
        assert await stream.outcomes("d") == [(0, "indexed"), (1, "deleted"), (2, "dead")]

    play(kind, tmp_path, story)


def test_c3_the_newest_good_change_before_a_poison_is_taken_up(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "A"), ("d", "AB"), ("d", "A!"), ("d", "?B"), ("e", "C"))
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"d": "AB", "e": "C"}
        assert await stream.outcomes("d") == [(0, "superseded"), (1, "indexed"), (2, "dead"), (3, "dead")]
        superseded = next(it for it in await stream.receipts("d") if it.version.offset == 0)
        assert superseded.overtaken_by is not None
        assert superseded.overtaken_by.offset == 1

    play(kind, tmp_path, story)


def test_c11_a_crash_between_apply_and_settle_repeats_nothing_and_loses_no_proof(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "AB"), ("e", "C"))
        await stream.once()
        await stream.say(("d", "ABD"), ("e", None), ("f", None))
        held: list[NeverSettles] = []

        def wrap(inner: LogReader) -> LogReader:
            held.append(NeverSettles(inner))
            return held[0]

        doomed = asyncio.ensure_future(stream.worker(reader=wrap).run(once=False))

        async def applied() -> bool:
            return len([it for it in await stream.stored() if it.manifest.version.offset >= 2]) == 3

        await stream.until(applied)
        assert held[0].reached.is_set()
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        assert [it for it in await stream.outcomes("d") if it[0] >= 2] == []
        asked = len(stream.model.texts)
        revisions = {it.manifest.id: it.manifest.revision for it in await stream.stored()}

        assert (await stream.once()).end is End.DONE
        assert len(stream.model.texts) == asked, "the repeat embedded again"
        assert {it.manifest.id: it.manifest.revision for it in await stream.stored()} == revisions, "it wrote again"
        assert await stream.outcomes("d") == [(0, "indexed"), (2, "indexed")]
        assert await stream.outcomes("e") == [(1, "indexed"), (3, "deleted")]
        assert await stream.outcomes("f") == [(4, "deleted")]
        assert await stream.shown() == {"d": "ABD"}

    play(kind, tmp_path, story)


def test_c12_a_partial_apply_and_a_later_version_leave_whole_documents(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "AB"), ("e", "AB"))
        worker = stream.worker(writer=AppliesPart)
        task = asyncio.ensure_future(worker.run(once=False))

        async def out() -> bool:
            return any(event is Event.OUTAGE_BEGAN for event, _ in stream.events)

        await stream.until(out)
        await stream.say(("d", "BC"), ("e", "BC"), ("d", "CD"))

        async def done() -> bool:
            return await stream.shown() == {"d": "CD", "e": "BC"}

        await stream.until(done)
        worker.stop()
        await task
        assert all(len(it.rows) == len(it.manifest.chunks) for it in await stream.stored())

    play(kind, tmp_path, story)


def test_c14_a_discarded_dead_letter_stays_discarded_after_a_crash(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "AB"), ("d", "A!"))
        worker = stream.worker(reader=SettlesWithout)
        task = asyncio.ensure_future(worker.run(once=False))

        async def dead() -> bool:
            return bool(await stream.letters(DeadState.OPEN))

        await stream.until(dead)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        letter = (await stream.letters())[0]
        writer = stream.writer()
        ledger, reader = stream.log.ledger(STREAM, 1), stream.log.reader(STREAM, "headwater.s", 1, 1)
        assert await discard(letter, ledger, writer, reader, stream.clock)
        assert not await discard(letter, ledger, writer, reader, stream.clock), "it is discarded already"
        await writer.close()
        assert (await stream.once()).end is End.DONE
        assert ("discarded", letter.version.offset) in [(o, at) for at, o in await stream.outcomes("d")]
        assert [it.state for it in await stream.letters()] == [DeadState.DISCARDED]
        assert await stream.shown() == {"d": "AB"}

    play(kind, tmp_path, story)


def test_a_retried_dead_letter_goes_through_the_fence(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "A!"), ("e", "B!"), ("e", "C"))
        await stream.once()
        # The older poison of e was overtaken by a good change, so only d's letter is there.
        assert [it.document for it in await stream.letters()] == ["d"]
        ledger = stream.log.ledger(STREAM, 1)
        letter = (await stream.letters())[0]
        assert await ledger.move("d", letter.version, DeadState.OPEN, DeadState.RETRYING)
        await stream.once()
        assert [(it.state, it.attempts) for it in await stream.letters()] == [(DeadState.OPEN, 2)]
        stream.model.inner.healed = True
        assert await ledger.move("d", letter.version, DeadState.OPEN, DeadState.RETRYING)
        await stream.once()
        assert [it.state for it in await stream.letters()] == [DeadState.SETTLED]
        assert await stream.shown() == {"d": "A!", "e": "C"}

    play(kind, tmp_path, story)


def test_removals_do_not_wait_while_the_model_is_out(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "AB"), ("e", "C"))
        await stream.once()
        stream.model.back.clear()
        worker = stream.worker(limits=Limits(poll_wait_s=0.05, works=1, work_documents=1))
        task = asyncio.ensure_future(worker.run(once=False))
        await stream.say(("f", "D"), ("d", "ABD"), ("d", None), ("e", "#C"))

        async def gone() -> bool:
            return await stream.shown() == {}

        await stream.until(gone)
        assert {it.manifest.id: it.manifest.state for it in await stream.stored()} == {
            "d": State.DELETED,
            "e": State.FILTERED,
        }
        marks = await stream.log.history(STREAM, "headwater.s", 1).watermarks()
        assert marks[0].committed == 2, "the commit stays contiguous: f waits for the model"
        stream.model.back.set()

        async def settled() -> bool:
            return (await stream.log.history(STREAM, "headwater.s", 1).watermarks())[0].committed == 6

        await stream.until(settled)
        worker.stop()
        await task
        assert await stream.shown() == {"f": "D"}
        assert await stream.outcomes("d") == [(0, "indexed"), (3, "superseded"), (4, "deleted")]

    play(kind, tmp_path, story)


def test_a_text_that_the_stream_holds_is_not_embedded_again(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "AB"))
        await stream.once()
        await stream.say(("e", "BA"), ("d", "ABC"), ("f", "C"))
        await stream.once()
        assert sorted(stream.model.texts) == ["A", "B", "C"]
        assert await stream.shown() == {"d": "ABC", "e": "BA", "f": "C"}

    play(kind, tmp_path, story)


def test_too_many_rejected_changes_pause_the_stream(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(*((f"d{i}", "?B") for i in range(25)), ("good", "A"))
        ended = await stream.once()
        assert ended.end is End.PAUSED
        assert "rejected" in ended.reason
        assert (await stream.once()).end is End.PAUSED, "a paused stream is not worked on"
        registry = stream.log.registry()
        state = await registry.read(STREAM)
        assert await registry.advance(STREAM, msgspec.structs.replace(state, paused=""))
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"good": "A"}

    play(kind, tmp_path, story)


def test_what_a_source_cannot_read_pauses_nothing_and_stays_as_it_was(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d0", "AB"))
        await stream.once()
        told = [unreadable(f"d{number}", "a damaged PDF", 1) for number in range(25)]
        await stream.log.writer(STREAM, 1).append(told)
        await stream.say(("good", "A"))
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"d0": "AB", "good": "A"}
        letters = await stream.letters()
        assert {it.document: it.reason for it in letters} == {f"d{number}": "a damaged PDF" for number in range(25)}
        await stream.say(("d0", "ABC"))
        await stream.once()
        assert await stream.shown() == {"d0": "ABC", "good": "A"}

    play(kind, tmp_path, story)


def test_a_worker_that_serves_goes_on_after_a_pause(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        registry = stream.log.registry()
        worker = stream.worker()
        task = asyncio.ensure_future(worker.run(once=False))
        await stream.say(("d", "A"))

        async def first() -> bool:
            return bool((await registry.read(STREAM)).serial) and await stream.shown() == {"d": "A"}

        await stream.until(first)
        state = await registry.read(STREAM)
        assert await registry.advance(STREAM, msgspec.structs.replace(state, paused="a person said so"))
        await stream.clock.sleep(0.5)
        await stream.say(("d", "AB"))
        await stream.clock.sleep(0.5)
        assert await stream.shown() == {"d": "A"}
        state = await registry.read(STREAM)
        assert await registry.advance(STREAM, msgspec.structs.replace(state, paused=""))

        async def second() -> bool:
            return await stream.shown() == {"d": "AB"}

        await stream.until(second)
        worker.stop()
        assert (await task).end is End.STOPPED

    play(kind, tmp_path, story)


def test_a_record_that_is_no_change_and_a_recipe_that_fails_hurt_only_themselves(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        unreadable = [Outgoing(b"\xff", b"{}"), Outgoing(b"\xfe", b"{}"), Outgoing(b"", b"{}")]
        headers = (("headwater-version", b"1.9999999999999999999.0.5"),)
        copied = Outgoing(b"c", b'{"body": {"text": "A", "tag": 0}}', headers)
        defects = [Outgoing(b"d", b'{"body": {"text": "A"}}'), Outgoing(b"f", b'{"body": {"text": 7}}')]
        await stream.log.writer(STREAM, 1).append([*unreadable, copied, *defects])
        await stream.say(("e", "AB"))
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"e": "AB"}
        reasons = {it.document: it.reason for it in await stream.letters()}
        assert set(reasons) == {"record 0.0", "record 0.1", "record 0.2", "c", "d", "f"}
        assert reasons["d"] == "the recipe failed with KeyError"
        assert reasons["f"] == "the filter failed with AttributeError"

    play(kind, tmp_path, story)


def test_a_log_that_must_not_be_compacted_and_is(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.once()
        worker = stream.worker(uncompacted="markers carry no order")
        running = asyncio.ensure_future(worker.run(once=False))
        await stream.say(("d", "A"))
        await stream.until(lambda: _shown(stream, {"d": "A"}))
        # Somebody changes it under a worker that serves, and then the worker is started again.
        stream.log.marker_life_s = 1000.0
        for ended in (await running, await stream.worker(uncompacted="markers carry no order").run(once=True)):
            assert (ended.end, type(ended.error)) == (End.HALTED, Misconfigured)
            assert "markers carry no order" in ended.reason
        assert (await stream.worker().run(once=True)).end is End.DONE

    play(kind, tmp_path, story)


async def _shown(stream: Stream, texts: dict[str, str]) -> bool:
    return await stream.shown() == texts


def test_a_retried_letter_whose_record_is_gone_is_open_again(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "A!"))
        await stream.once()
        letter = (await stream.letters())[0]
        assert await stream.log.ledger(STREAM, 1).move("d", letter.version, DeadState.OPEN, DeadState.RETRYING)
        stream.log.stream(STREAM, 1).partitions[0].offsets.clear()
        stream.log.stream(STREAM, 1).partitions[0].records.clear()
        assert (await stream.once()).end is End.DONE
        assert [(it.state, it.attempts) for it in await stream.letters()] == [(DeadState.OPEN, 1)]
        assert await stream.outcomes("d") == [(0, "dead")]

    play(kind, tmp_path, story)


def test_a_discard_that_was_cut_short_is_gone_on_with(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "A!"))
        await stream.once()
        letter = (await stream.letters())[0]
        ledger, writer = stream.log.ledger(STREAM, 1), stream.writer()
        reader = stream.log.reader(STREAM, "headwater.s", 1, 1)
        assert await ledger.move("d", letter.version, DeadState.OPEN, DeadState.DISCARDED)
        assert await discard(letter, ledger, writer, reader, stream.clock)
        assert await stream.outcomes("d") == [(0, "dead"), (0, "discarded")]
        assert not await discard(letter, ledger, writer, reader, stream.clock)
        await writer.close()

    play(kind, tmp_path, story)


def test_a_log_that_lost_what_was_applied_ahead_halts_and_can_be_accepted(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        await stream.say(("d", "A"))
        await stream.once()
        # The delete is applied ahead of what waits for the model; then the log is restored from before both.
        stream.model.back.clear()
        worker = asyncio.ensure_future(stream.worker().run(once=False))
        await stream.say(("x", "AB"), ("d", None))

        async def gone() -> bool:
            return await stream.shown() == {}

        await stream.until(gone)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        stream.model.back.set()
        partition = stream.log.stream(STREAM, 1).partitions[0]
        del partition.records[1:], partition.offsets[1:]
        partition.high = 1
        halted = await stream.once()
        assert (halted.end, "log-rewind" in halted.reason) == (End.HALTED, True)
        await stream.say(("d", "AB"), ("y", "B"), ("z", "C"))
        assert (await stream.once()).end is End.HALTED, "another change lies there now"
        registry = stream.log.registry()
        state = await registry.read(STREAM)
        assert await registry.advance(STREAM, msgspec.structs.replace(state, accept_epoch=True))
        assert (await stream.once()).end is End.DONE
        assert await stream.shown() == {"d": "AB", "y": "B", "z": "C"}

    play(kind, tmp_path, story)
