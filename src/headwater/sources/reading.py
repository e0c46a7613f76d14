"""Documents that a reader reads for a folder source, beside its passes: what was asked, and what was answered."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from headwater.documents.port import Answer, Extracted, Load, Reader
from headwater.errors import Reject, Retry
from headwater.sources.scan import Found

#: So much is taken from the reader before a pass has appended it: then that reads no further.
HELD_ANSWERS = 500
HELD_CHARACTERS = 4 << 20
_WAIT_S = 0.5


class Asked(NamedTuple):
    """A file as it was when it was asked for, and when it came to be so."""

    found: Found
    time_us: int


class Outcome(NamedTuple):
    """What became of a file that was asked for. None: it was gone, or another, when its turn came."""

    asked: Asked
    outcome: Extracted | Reject | Retry | None


class Reading:
    """Asks a reader, and gathers its answers on a thread until the next pass takes them.

    Only the last answer about a file counts. It belongs to one event loop at a time; answers outlive that.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._asked: dict[str, Asked] = {}
        self._answers: deque[Answer] = deque()
        self._come = asyncio.Event()
        self._gathering: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._asked)

    def awaits(self, found: Found) -> bool:
        """Tell whether this very file was asked for and not answered."""
        asked = self._asked.get(found.id)
        return asked is not None and asked.found == found

    def ask(self, asked: Asked, load: Load) -> None:
        """Have a file read. Never blocks."""
        self._asked[asked.found.id] = asked
        self._reader.ask(asked.found.id, asked, load)

    def gather(self) -> None:
        """Begin to gather what is answered, if there is anything to wait for and room for it."""
        if self._asked and (self._gathering is None or self._gathering.done()):
            self._gathering = asyncio.create_task(self._gather())

    async def take(self) -> list[Outcome]:
        """Return what was answered since. Raise what the reader raises."""
        if self._gathering is not None and self._gathering.done() and not self._gathering.cancelled():
            self._gathering.result()
        await asyncio.to_thread(self._fetch, 0.0)
        self._come.clear()
        taken = []
        while self._answers:
            answer = self._answers.popleft()
            if self._asked.get(answer.name) is answer.ticket:
                taken.append(Outcome(self._asked.pop(answer.name), answer.outcome))
        return taken

    async def answered(self) -> None:
        """Return when there is something to take."""
        await self._come.wait()

    async def close(self) -> None:
        """Give up what was asked. Idempotent."""
        await asyncio.to_thread(self._reader.close)
        if self._gathering is not None:
            self._gathering.cancel()
            await asyncio.gather(self._gathering, return_exceptions=True)

    async def _gather(self) -> None:
        try:
            while self._reader.outstanding() and self._room():
                if await asyncio.to_thread(self._fetch, _WAIT_S):
                    self._come.set()
        except BaseException:
            self._come.set()  # whoever takes is told
            raise

    def _fetch(self, wait_s: float) -> int:
        # Kept here and now: whoever waits for this thread may be cancelled.
        more = self._reader.answers(wait_s)
        self._answers.extend(more)
        return len(more)

    def _room(self) -> bool:
        held = sum(len(it.outcome.text) for it in self._answers if isinstance(it.outcome, Extracted))
        return len(self._answers) < HELD_ANSWERS and held < HELD_CHARACTERS
