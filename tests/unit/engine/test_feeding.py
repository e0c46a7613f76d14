"""Several workers look at one source: whoever is outrun goes on, and says so only when it never catches up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from headwater.clock import Clock, SystemClock, SystemDice
from headwater.engine.feeding import GATHER_S, MOTION_PASSES, OUTRUN_PASSES, Feed
from headwater.errors import Halt, Retry
from headwater.observability.signals import Event
from headwater.patience import Patience
from headwater.sources.port import Pass
from headwater.testing.simulated import SimulatedClock, simulate


class Scripted:
    """A source whose passes end as told: with so many upserts, or outrun."""

    def __init__(self, *passes: int | str) -> None:
        self.passes = list(passes)

    async def synchronise(self) -> Pass:
        told = self.passes.pop(0)
        if isinstance(told, str):
            raise Halt(told, "another instance was here")
        return Pass(told, 0, ())

    async def changed(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        return


def told(*passes: int | str) -> list[tuple[Event, dict[str, Any]]]:
    events: list[tuple[Event, dict[str, Any]]] = []
    clock = SystemClock()
    patience = Patience(clock, SystemDice(), lambda outage, dependency: None)
    feed = Feed(Scripted(*passes), patience, clock, lambda event, fields: events.append((event, fields)), 10.0)

    async def go() -> None:
        for _ in passes:
            await feed.synchronise()

    asyncio.run(go())
    return events


def test_a_pass_that_was_outrun_is_none() -> None:
    outrun = ["snapshot-race"] * (OUTRUN_PASSES - 1)
    assert told(*outrun, 2, *outrun, 3) == [
        (Event.SOURCE_SYNCHRONISED, {"upserts": 2, "deletes": 0, "skipped": 0}),
        (Event.SOURCE_SYNCHRONISED, {"upserts": 3, "deletes": 0, "skipped": 0}),
    ]


def test_who_is_outrun_again_and_again_halts() -> None:
    with pytest.raises(Halt, match="snapshot-race"):
        told(*["snapshot-race"] * OUTRUN_PASSES)


def test_whatever_else_halts_halts_at_once() -> None:
    with pytest.raises(Halt, match="log-rewind"):
        told("log-rewind")


class Moving:
    """A source in simulated time: told when it hints, how long a pass takes, what each leaves in motion, and from when
    until when it is away.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        hints: Sequence[float] = (),
        takes_s: float = 0.0,
        again_s: Sequence[float] = (),
        reading: Sequence[int] = (),
        away: tuple[float, float] = (0, 0),
    ):
        self.clock = clock
        self.hints = sorted(hints)
        self.takes_s = takes_s
        self.again_s = list(again_s)
        self.reading = list(reading)
        self.away = away
        self.passes: list[float] = []

    async def synchronise(self) -> Pass:
        if self.away[0] <= self.clock.monotonic() < self.away[1]:
            raise Retry("the folder", "it is away")
        self.passes.append(round(self.clock.monotonic(), 3))
        await self.clock.sleep(self.takes_s)
        again_s = self.again_s.pop(0) if self.again_s else None
        return Pass(0, 0, (), again_s, self.reading.pop(0) if self.reading else 0)

    async def changed(self) -> None:
        now_s = self.clock.monotonic()
        # What came while nobody waited counts once.
        came = [it for it in self.hints if it <= now_s]
        if not came:
            due_s = self.hints[0] if self.hints else 1e9
            await self.clock.sleep(due_s - now_s)
            came = [due_s]
        self.hints = self.hints[len(came) :]

    async def close(self) -> None:
        return


def looked(**moving: Any) -> list[float]:
    """When the passes of looking once began, in seconds from its start."""
    return followed(None, **moving)


def followed(for_s: float | None, **moving: Any) -> list[float]:
    """When the passes began, in seconds from the start of following for so long."""

    async def go() -> list[float]:
        clock = SimulatedClock()
        source = Moving(clock, **moving)
        patience = Patience(clock, SystemDice(), lambda outage, dependency: None)
        feed = Feed(source, patience, clock, lambda event, fields: None, 10.0)
        if for_s is None:
            await feed.synchronise()
            return source.passes
        following = asyncio.ensure_future(feed.follow())
        await clock.sleep(for_s)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        return source.passes

    return simulate(go)


def test_without_hints_it_looks_every_so_often() -> None:
    assert followed(35) == [0, 10, 20, 30]


def test_a_hint_is_followed_soon_and_many_are_one() -> None:
    assert followed(25, hints=[3, 3.01, 3.05, 3.09]) == [0, 3.1, 13.1, 23.1]


def test_what_is_hinted_during_a_pass_is_looked_at_after_it() -> None:
    assert followed(7, hints=[3, 4.5], takes_s=1.0) == [0, 4, 6]


def test_half_of_the_time_stays_free_however_many_hints_come() -> None:
    passes = followed(100, hints=[it / 10 for it in range(1000)], takes_s=2.0)
    assert 23 <= len(passes) <= 26


def test_however_long_it_was_away_a_hint_is_followed_soon() -> None:
    back_s, hinted_s = [it for it in followed(3_625, away=(5, 3_600), hints=[3_600]) if it >= 3_600][:2]
    assert hinted_s - back_s == pytest.approx(GATHER_S)


def test_a_pass_that_takes_longer_than_the_rescan_is_no_reason_to_wait_longer() -> None:
    assert followed(90, hints=[it / 10 for it in range(900)], takes_s=30.0) == [0, 40, 80]


def test_what_was_in_motion_is_looked_at_again_when_it_may_be_still() -> None:
    assert followed(25, again_s=[0.5, 0.3]) == [0, 0.5, 0.8, 10.8, 20.8]


def test_looking_once_waits_for_what_is_in_motion_but_not_for_ever() -> None:
    assert looked(again_s=[0.5, 0.3]) == [0, 0.5, 0.8]
    assert len(looked(again_s=[0.5] * 1000)) == MOTION_PASSES + 1


def test_looking_once_waits_for_what_is_read_however_long() -> None:
    passes = looked(hints=[3], reading=[2] + [1] * 2 * MOTION_PASSES)
    assert passes[:3] == [0, 3.1, 13.1]
    assert len(passes) == 2 * MOTION_PASSES + 2


def test_what_is_in_motion_beside_what_is_read_is_looked_at_soon() -> None:
    assert looked(again_s=[0.5, 0.3], reading=[1, 1, 1]) == [0, 0.5, 0.8, 10.8]
