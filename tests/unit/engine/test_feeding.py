"""Several workers look at one source: whoever is outrun goes on, and says so only when it never catches up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headwater.clock import SystemClock, SystemDice
from headwater.engine.feeding import OUTRUN_PASSES, Feed
from headwater.errors import Halt
from headwater.observability.signals import Event
from headwater.patience import Patience
from headwater.sources.port import Pass


class Scripted:
    """A source whose passes end as told: with so many upserts, or outrun."""

    def __init__(self, *passes: int | str) -> None:
        self.passes = list(passes)

    async def synchronise(self) -> Pass:
        told = self.passes.pop(0)
        if isinstance(told, str):
            raise Halt(told, "another instance was here")
        return Pass(told, 0, ())

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
