"""A batch interface in memory: for tests and simulations of what hands in jobs, and of adapters beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from headwater.clock import Clock
from headwater.embedding.batches import BatchJob, BatchLimits, JobState
from headwater.embedding.port import Embedded, Embedder
from headwater.errors import Reject


class _Held(msgspec.Struct):
    label: str
    calls: tuple[tuple[str, ...], ...]
    ends_s: float
    reason: str = ""
    full: bool = False
    answers: dict[int, Embedded | str] | None = None


class MemoryBatches:
    """A Batches of which all that use this object share the service.

    What the service does is set, at any time: `takes_s`, how long a job takes that is handed in from now on. `room`,
    how many jobs may be under way before the next one is refused for that. `refusal`, for which every job is refused.
    `hidden`: it lists no job. `refused`, texts whose calls it refuses, and why. `answered`, how many calls of a job it
    does before its time is over; None: all.

    `paid` counts the texts of the calls that it answered with vectors, `handed_in` the jobs. `jobs_held` tells how many
    were not discarded.
    """

    def __init__(self, embedder: Embedder, clock: Clock, *, limits: BatchLimits | None = None) -> None:
        self._embedder = embedder
        self._clock = clock
        self._limits = limits or BatchLimits(calls=1_000, texts=10_000, bytes=1 << 20)
        self._jobs: dict[str, _Held] = {}
        self.handed_in = 0
        self.takes_s = 0.0
        self.room: int | None = None
        self.refusal = ""
        self.refused: dict[str, str] = {}
        self.answered: int | None = None
        self.hidden = False
        self.paid: Counter[str] = Counter()

    def limits(self) -> BatchLimits:
        return self._limits

    @property
    def jobs_held(self) -> int:
        """How many jobs were handed in and not discarded."""
        return len(self._jobs)

    def end_all(self) -> None:
        """Have all jobs that are under way end now."""
        for job in self._jobs.values():
            job.ends_s = self._clock.monotonic()

    async def submit(self, label: str, calls: Sequence[Sequence[str]]) -> BatchJob:
        check_texts([text for call in calls for text in call])
        under_way = sum(self._state(it) is JobState.WORKING for it in self._jobs.values())
        full = self.room is not None and under_way >= self.room
        job = _Held(
            label,
            tuple(map(tuple, calls)),
            self._clock.monotonic() + self.takes_s,
            reason="too much is under way" if full else self.refusal,
            full=full,
        )
        self.handed_in += 1
        name = f"job-{self.handed_in}"
        self._jobs[name] = job
        return self._told(name, job)

    async def jobs(self, label: str) -> list[BatchJob]:
        if self.hidden:
            return []
        return [self._told(name, job) for name, job in self._jobs.items() if job.label == label]

    async def texts(self, job: str) -> list[list[str]]:
        held = self._jobs.get(job)
        return [list(call) for call in held.calls] if held else []

    async def answers(self, job: str) -> Mapping[int, Embedded | str]:
        held = self._jobs.get(job)
        if held is None or self._state(held) is not JobState.ENDED:
            return {}
        if held.answers is None:
            held.answers = {}
            for place, call in enumerate(held.calls[: self.answered]):
                held.answers[place] = await self._answered(call)
        return dict(held.answers)

    async def discard(self, job: str) -> None:
        self._jobs.pop(job, None)

    async def _answered(self, call: Sequence[str]) -> Embedded | str:
        for text in call:
            if text in self.refused:
                return self.refused[text]
        found = await self._embedder.embed(call)
        self.paid.update(call)
        return found

    def _state(self, job: _Held) -> JobState:
        if job.reason:
            return JobState.REFUSED
        return JobState.ENDED if self._clock.monotonic() >= job.ends_s else JobState.WORKING

    def _told(self, name: str, job: _Held) -> BatchJob:
        state, calls = self._state(job), len(job.calls)
        done = len(job.calls[: self.answered]) if state is JobState.ENDED else 0
        return BatchJob(name, state, calls, done, job.reason, job.full)


def check_texts(texts: Sequence[str]) -> None:
    """Raise Reject for a text that no file of calls can hold."""
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Reject("the text holds a lone surrogate, which is not Unicode text", index) from error
        if not text or text.isspace():
            raise Reject("the text is empty: no service embeds it", index)
