"""The source of a stream, beside its loop: looked through at the start, and again every so often."""

from __future__ import annotations

import asyncio

from headwater.clock import Clock
from headwater.errors import Halt
from headwater.observability.signals import Emit, Event
from headwater.patience import Patience
from headwater.sources.port import Source
from headwater.sources.skips import Skips

#: So many passes in a row may come too late before somebody has to look.
OUTRUN_PASSES = 5


class Feed:
    """Lets a source append what has changed. Without a source it does nothing."""

    def __init__(self, source: Source | None, patience: Patience, clock: Clock, emit: Emit, rescan_s: float) -> None:
        self._source = source
        self._patience = patience
        self._clock = clock
        self._emit = emit
        self._rescan_s = rescan_s
        self._skips = Skips()
        self._outrun = 0

    async def follow(self) -> None:
        """Look again and again, until cancelled."""
        while self._source is not None:
            await self._clock.sleep(self._rescan_s)
            await self.synchronise()
        await asyncio.Event().wait()

    async def synchronise(self) -> None:
        """Look once. Raise what the source raises.

        Several workers of a stream look at the same source. Where another one was faster, its pass did the work of
        this one, and the next one begins with what it has noted.
        """
        if self._source is None:
            return
        try:
            result = await self._patience.call(self._source.synchronise)
        except Halt as halt:
            self._outrun += 1
            if halt.invariant != "snapshot-race" or self._outrun >= OUTRUN_PASSES:
                raise
            return
        self._outrun = 0
        before = self._skips.count
        for item, reason in self._skips.news(result.skipped):
            self._emit(Event.SOURCE_SKIPPED, {"item": item, "reason": reason})
        skipped = self._skips.count
        if result.upserts or result.deletes or skipped != before:
            counts = {"upserts": result.upserts, "deletes": result.deletes, "skipped": skipped}
            self._emit(Event.SOURCE_SYNCHRONISED, counts)
