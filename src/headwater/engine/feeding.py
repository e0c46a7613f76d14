"""The source of a stream, beside its loop: looked through at the start, when it hints, and again every so often."""

from __future__ import annotations

import asyncio

from headwater.clock import Clock
from headwater.errors import Halt
from headwater.observability.signals import Emit, Event
from headwater.patience import Patience
from headwater.sources.port import Pass, Source
from headwater.sources.skips import Skips

#: So many passes in a row may come too late before somebody has to look.
OUTRUN_PASSES = 5
#: So many passes wait for what is in motion before it is left for good.
MOTION_PASSES = 20
#: After a hint so long is waited for more of them: one pass does for a burst. Longer where a pass takes longer, so that
#: however many hints come, half of the time stays free; but never longer than one looks without a hint.
GATHER_S = 0.1


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
        self._again_s: float | None = None
        self._reading = 0
        self._took_s = 0.0

    async def follow(self) -> None:
        """Look again and again, until cancelled: after a hint, or what was in motion, soon; else every `rescan_s`.

        Raise what the source raises.
        """
        while self._source is not None:
            await self._look(self._source)
            await self._rest(self._source)
        await asyncio.Event().wait()

    async def synchronise(self) -> None:
        """Look until nothing is read and nothing in motion, but do not wait for ever for what is in motion.

        Raise what the source raises.
        """
        if self._source is None:
            return
        await self._look(self._source)
        passes = 0
        while self._reading or (self._again_s is not None and passes < MOTION_PASSES):
            if self._reading:
                await self._rest(self._source)
            else:
                passes += 1
                await self._clock.sleep(self._again_s or 0.0)
            await self._look(self._source)

    async def _rest(self, source: Source) -> None:
        """Wait until it is time for another pass."""
        wait_s = self._rescan_s if self._again_s is None else min(self._rescan_s, self._again_s)
        if await self._hinted(source, wait_s):
            await self._clock.sleep(min(max(GATHER_S, self._took_s), self._rescan_s))
            await self._hinted(source, 0.0)  # what was hinted meanwhile, this pass sees too

    async def _hinted(self, source: Source, within_s: float) -> bool:
        """Wait for a hint; tell whether it came in time."""
        hint = asyncio.ensure_future(source.changed())
        due = asyncio.ensure_future(self._clock.sleep(within_s))
        try:
            await asyncio.wait({hint, due}, return_when=asyncio.FIRST_COMPLETED)
            return hint.done()
        finally:
            for waiting in (hint, due):
                waiting.cancel()
            await asyncio.gather(hint, due, return_exceptions=True)

    async def _look(self, source: Source) -> None:
        """Have the source make one pass.

        Several workers of a stream look at the same source. Where another one was faster, its pass did the work of
        this one, and the next one begins with what it has noted.
        """

        async def attempt() -> Pass:
            # By itself: an outage takes as long as it likes, and is no reason to look seldom after it.
            began_s = self._clock.monotonic()
            result = await source.synchronise()
            self._took_s = self._clock.monotonic() - began_s
            return result

        try:
            result = await self._patience.call(attempt)
        except Halt as halt:
            self._outrun += 1
            if halt.invariant != "snapshot-race" or self._outrun >= OUTRUN_PASSES:
                raise
            return
        self._outrun = 0
        self._again_s, self._reading = result.again_s, result.reading
        self._tell(result)

    def _tell(self, result: Pass) -> None:
        before = self._skips.count
        for item, reason in self._skips.news(result.skipped):
            self._emit(Event.SOURCE_SKIPPED, {"item": item, "reason": reason})
        skipped = self._skips.count
        if result.upserts or result.deletes or skipped != before:
            counts = {"upserts": result.upserts, "deletes": result.deletes, "skipped": skipped}
            self._emit(Event.SOURCE_SYNCHRONISED, counts)
