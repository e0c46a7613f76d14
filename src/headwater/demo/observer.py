"""Looks into a stream from outside its worker: how far it is, and what a search finds. Writes nothing."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import NamedTuple

from headwater.clock import SystemClock
from headwater.errors import HeadwaterError
from headwater.indexes.port import Hit
from headwater.wiring import open_site


class Marks(NamedTuple):
    """How many changes the stream's log holds, and how many of them are settled."""

    appended: int
    settled: int

    @property
    def waiting(self) -> int:
        """How many are not settled."""
        return self.appended - self.settled


class Observer:
    """One stream of one configuration, read from this process while workers are others."""

    def __init__(self, config: Path, stream: str) -> None:
        self._runner = asyncio.Runner()
        self._runner.get_loop()  # made now: an interrupt while it is being made later would leave half a loop
        self._clock = SystemClock()
        self._site = open_site(config, os.environ)
        self._history = self._site.history(stream)
        self._retriever = self._site.retriever(stream)

    def __repr__(self) -> str:
        return f"Observer({self._site!r})"

    def marks(self) -> Marks:
        """Look at the log; one that is not there yet, or not yet whole, is empty."""
        return self._runner.run(self._marks())

    async def _marks(self) -> Marks:
        try:
            found = await self._history.watermarks()
        except HeadwaterError:
            return Marks(0, 0)  # its worker has only just begun, and reports what is wrong with it
        return Marks(sum(mark.high for mark in found.values()), sum(mark.committed for mark in found.values()))

    def search(self, question: str, k: int) -> tuple[list[Hit], float]:
        """Return the best k chunks, and how many seconds that took."""
        began_s = self._clock.monotonic()
        hits = self._runner.run(self._retriever.search(question, k, {}))
        return hits, self._clock.monotonic() - began_s

    def rest(self, seconds: float) -> None:
        """Wait."""
        self._runner.run(self._clock.sleep(seconds))

    def close(self) -> None:
        """Let go of what is held."""
        self._runner.run(self._site.close())
        self._runner.close()
