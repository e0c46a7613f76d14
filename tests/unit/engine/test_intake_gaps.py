"""A reader that looks at the log now and then: one that is another, and delete markers that may be gone unread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest

from headwater.engine.intake import Intake, Start
from headwater.errors import Changed, Halt, Lost, Retry, Unreachable
from headwater.log.port import Batch, Watermarks
from headwater.model.change import Record
from headwater.model.receipt import CaughtUp, Settlement
from headwater.model.registry import Epoch
from headwater.testing.simulated import BEGINNING_US, SimulatedClock, simulate

S = 1_000_000
LIFE_S = 100.0
FIVE = Start(5)


class Log:
    """A LogReader and a LogHistory in one, as the test says."""

    def __init__(self) -> None:
        self.batches: list[Batch | Exception] = []
        self.marks = {0: Watermarks(0, 10, 5)}
        self.name = "log"
        self.life_s: float | None = LIFE_S
        self.settled: list[Settlement] = []
        self.failing: list[Exception] = []

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        batch = self.batches.pop(0) if self.batches else Batch()
        if isinstance(batch, Exception):
            raise batch
        return batch

    async def settle(self, settlement: Settlement) -> None:
        if self.failing:
            raise self.failing.pop()
        self.settled.append(settlement)

    async def identity(self) -> str:
        return self.name

    async def watermarks(self) -> dict[int, Watermarks]:
        return self.marks

    async def marker_life_s(self) -> float | None:
        return self.life_s

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        for offset in range(start, end):
            yield record(offset, partition)

    async def close(self) -> None:
        return


def record(offset: int, partition: int = 0) -> Record:
    return Record(partition, offset, b"k", b"v", 0)


def played(story: Callable[[Log, Intake, SimulatedClock], Awaitable[None]], start: Start = FIVE) -> Log:
    """Play a story with a reader to which partition 0 was assigned at offset 5."""
    log = Log()

    async def main() -> None:
        clock = SimulatedClock()

        async def starts(committed: Mapping[int, int]) -> Mapping[int, Start]:
            return dict.fromkeys(committed, start)

        intake = Intake(log, log, starts, Epoch(1, "log", 1), clock)
        log.batches.append(Batch(assigned={0: 5}))
        assert (await intake.poll(9, 9, 0)).assigned == {0: start.offset}
        await story(log, intake, clock)

    simulate(main)
    return log


def beginning(at_s: int = 0) -> Start:
    return Start(5, CaughtUp(BEGINNING_US + at_s * S, 0))


@pytest.mark.parametrize(
    ("what", "log"),
    [
        ("made anew", {"name": "other"}),
        ("has 2 partitions, and had 1", {"marks": {0: Watermarks(0, 10, 5), 1: Watermarks(0, 0, 0)}}),
        ("partition 0 ends at 6, and was read up to 8", {"marks": {0: Watermarks(0, 6, 5)}}),
    ],
)
def test_another_log_is_found_while_it_is_read(what: str, log: Mapping[str, object]) -> None:
    async def story(found: Log, intake: Intake, clock: SimulatedClock) -> None:
        found.batches.append(Batch([record(5), record(7)]))
        await intake.poll(9, 9, 0)
        await intake.look()
        for name, value in log.items():
            setattr(found, name, value)
        with pytest.raises(Changed, match=what):
            await intake.look()
        # What the reader fails with is explained by it.
        for error in (Halt("log-truncation-gap", "x"), Unreachable("kafka", "no such topic")):
            found.batches.append(error)
            with pytest.raises(Changed, match=what):
                await intake.poll(9, 9, 0)

    played(story)


def test_a_reader_that_fails_on_the_same_log_says_what_it_failed_with() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        log.batches += [Halt("log-truncation-gap", "x"), Retry("kafka", "away")]
        with pytest.raises(Halt, match="log-truncation-gap: x"):
            await intake.poll(9, 9, 0)
        with pytest.raises(Retry):
            await intake.poll(9, 9, 0)

    played(story)


def test_a_log_that_keeps_every_change_needs_no_notes() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        log.life_s = None
        await clock.sleep(10 * LIFE_S)
        assert await intake.look() is None
        log.batches.append(Batch([record(5)]))
        assert (await intake.poll(9, 9, 0)).records
        await intake.settle(Settlement({0: 6}))

    log = played(story)
    assert log.settled == [Settlement({0: 6})]


def test_a_log_that_is_compacted_from_now_on_has_lost_no_marker_yet() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        log.life_s = None
        await clock.sleep(1000)
        assert await intake.look() is None
        last_s = clock.now_us()
        log.life_s = LIFE_S
        await clock.sleep(10)
        assert await intake.look() == LIFE_S
        assert log.settled == [Settlement({0: 5}, caught={0: CaughtUp(last_s, 0)})]
        log.batches += [Batch([record(5)]), Batch([record(6)])]
        await clock.sleep(LIFE_S - 10)
        assert (await intake.poll(9, 9, 0)).records
        await intake.settle(Settlement({0: 6}))
        assert log.settled[-1].caught == {0: CaughtUp(last_s, 0)}
        await clock.sleep(1)
        with pytest.raises(Halt, match="missed-delete-marker"):
            await intake.poll(9, 9, 0)

    played(story)


def test_an_index_that_begins_beyond_the_committed_offset_goes_over_what_is_gone() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        assert log.settled == [Settlement({0: 8})]

    played(story, Start(8))


def test_how_current_it_is_stands_in_the_log_before_the_first_record() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        assert log.settled == [Settlement({0: 5}, caught={0: CaughtUp(BEGINNING_US + 7 * S, 0)})]

    played(story, beginning(7))


def test_what_comes_within_a_markers_life_is_whole() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        began = clock.now_us()
        await clock.sleep(LIFE_S)
        log.batches += [Batch([record(5)]), Batch([record(6)])]
        assert (await intake.poll(9, 9, 0)).records
        await clock.sleep(1)
        with pytest.raises(Halt, match=r"missed-delete-marker: .*partition 0 .*offset 6"):
            await intake.poll(9, 9, 0)
        assert clock.now_us() - began == 101 * S

    played(story, beginning())


def test_who_reaches_what_was_the_end_is_as_current_as_the_look() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        looked = clock.now_us()
        await intake.look()
        await clock.sleep(50)
        log.batches.append(Batch([record(at) for at in range(5, 10)], ends={0: 10}))
        await intake.poll(9, 9, 0)
        await clock.sleep(49)
        log.batches.append(Batch([record(10)]))
        await intake.poll(9, 9, 0)  # 99 s after the look at an end that was reached
        await intake.settle(Settlement({0: 8}))
        await intake.settle(Settlement({0: 11}))
        assert [it.caught[0].at_us for it in log.settled[1:]] == [BEGINNING_US - 40 * S, looked]
        await clock.sleep(2)
        log.batches.append(Batch([record(11)]))
        with pytest.raises(Halt, match="missed-delete-marker"):
            await intake.poll(9, 9, 0)

    played(story, beginning(-40))


def test_an_idle_partition_stays_current_and_it_is_written_down_now_and_then() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        log.marks = {0: Watermarks(0, 5, 5)}
        for _ in range(100):
            await clock.sleep(3)
            assert await intake.look() == LIFE_S
        assert 30 < len(log.settled) < 70, "at most as often as needed"
        last = log.settled[-1]
        assert last.frontier == {0: 5}
        assert clock.now_us() - last.caught[0].at_us < LIFE_S / 10 * S
        log.batches.append(Batch([record(5)]))
        assert (await intake.poll(9, 9, 0)).records

    played(story, beginning())


def test_a_note_that_cannot_be_written_waits_its_turn() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        log.marks = {0: Watermarks(0, 5, 5)}
        log.failing = [Retry("kafka", "away")]
        settlement = Settlement({0: 5})
        with pytest.raises(Retry):
            await intake.settle(settlement)
        await clock.sleep(50)
        await intake.look()
        assert len(log.settled) == 1, "what is under way comes first"
        await intake.settle(settlement)
        assert log.settled[-1].caught == {0: CaughtUp(BEGINNING_US, 0)}, "a repeat says the very same"
        await intake.look()
        assert len(log.settled) == 3
        log.failing = [Lost(frozenset({0}))]
        await clock.sleep(50)
        await intake.look()  # the partition went meanwhile

    played(story, beginning())


def test_the_backlog_of_a_new_index_is_held_to_it_too() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        assert [it.offset for it in (await intake.poll(2, 10**6, 0)).records] == [0, 1]
        await clock.sleep(LIFE_S + 1)
        with pytest.raises(Halt, match="missed-delete-marker"):
            await intake.poll(2, 10**6, 0)

    played(story, Start(0, CaughtUp(BEGINNING_US, 0)))


def test_a_partition_that_goes_takes_its_past_along() -> None:
    async def story(log: Log, intake: Intake, clock: SimulatedClock) -> None:
        log.batches += [Batch([record(5)]), Batch(revoked=frozenset({0}))]
        await intake.poll(9, 9, 0)
        await intake.poll(9, 9, 0)
        log.marks = {0: Watermarks(0, 3, 3)}
        await clock.sleep(90)
        await intake.look()
        assert len(log.settled) == 1

    played(story, beginning())
