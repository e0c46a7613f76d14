"""The port of a service's batch interface: texts handed in as a job, which may take a day and costs less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from headwater.embedding.port import Embedded


class JobState(StrEnum):
    """How far a job is."""

    WORKING = "working"
    #: What is answered is there to be fetched. That may be a part, where the service ran out of time.
    ENDED = "ended"
    #: The service did not take the job.
    REFUSED = "refused"


class BatchJob(msgspec.Struct, frozen=True):
    """A job as the service tells of it: how many of its calls are done, and why it was refused, which quotes no text.

    `full`: it was refused because too much is under way; it can be handed in again when other jobs have ended.
    """

    id: str
    state: JobState
    calls: int = 0
    done: int = 0
    reason: str = ""
    full: bool = False


class BatchLimits(msgspec.Struct, frozen=True):
    """What one job may hold: calls, texts in all of them together, and bytes of the file in which they are handed in.

    What one call may hold is what the model's `Description` says.
    """

    calls: int
    texts: int
    bytes: int


class Batches(Protocol):
    """A service's batch interface for one model. Jobs outlive the process that handed them in.

    All that is known of a job is at the service: whoever knows its label finds it again. Every call may raise what
    `Embedder.embed` may raise for the service and the account; none of them waits for a job.
    """

    def limits(self) -> BatchLimits:
        """Say what a job may hold. Does not block, never changes."""
        ...

    async def submit(self, label: str, calls: Sequence[Sequence[str]]) -> BatchJob:
        """Hand in a job. When this returns, `jobs(label)` tells of it; when it raises, it may or may not.

        Raise Reject for a text that no job can hold, with its place among the texts of all calls: one with nothing in
        it, or with half of a surrogate pair. Then nothing was handed in.
        """
        ...

    async def jobs(self, label: str) -> list[BatchJob]:
        """Return the jobs of a label that were not discarded, the oldest first."""
        ...

    async def texts(self, job: str) -> list[list[str]]:
        """Return what was handed in. Empty when the service does not have it any more."""
        ...

    async def answers(self, job: str) -> Mapping[int, Embedded | str]:
        """Return the answers of a job that ended, by the place of their call: vectors, or why there are none.

        A call that is missing was not done.
        """
        ...

    async def discard(self, job: str) -> None:
        """Have the service delete the texts and the vectors of a job, and end it if it works. Idempotent."""
        ...
