"""One stream's jobs at a batch interface: what is under way, and for how much the service has room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from headwater.embedding.batches import Batches, BatchJob, JobState
from headwater.embedding.estimate import AROUND
from headwater.errors import Unreachable
from headwater.model.change import digest

#: So many jobs are under way at most. What one holds is what the service says, so this bounds what is remembered.
JOBS_AT_ONCE = 8
#: A job that was taken and is not listed so many times: the service will never tell of it.
UNLISTED = 10

_WITHOUT = "`headwater run` embeds without it"


class _Job(NamedTuple):
    """What is in a job: the digests of its texts, and how many tokens they have at most."""

    digests: frozenset[bytes]
    tokens: int


class Jobs:
    """What was handed in under `label`, by this process or by one before it. `name` is the model's.

    `others` are the labels of the streams that use the same account: their jobs are paid from it too.
    """

    def __init__(self, batches: Batches, label: str, others: Sequence[str], name: str) -> None:
        self._batches = batches
        self._label = label
        self._others = others
        self._name = name
        self._known: dict[str, _Job] = {}  # the jobs under way
        self._listed: set[str] = set()
        self._unlisted: Counter[str] = Counter()
        self._elsewhere: dict[str, int] = {}  # tokens of the others' jobs
        self._at_once = JOBS_AT_ONCE
        limits = batches.limits()
        self._most = min(limits.texts, limits.calls)
        self.texts = self._most  #: how many texts the next job may have
        self.bytes = limits.bytes

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: bytes) -> bool:
        return any(key in job.digests for job in self._known.values())

    @property
    def has_room(self) -> bool:
        """Whether one more may be under way."""
        return len(self._known) < self._at_once

    @property
    def tokens(self) -> int:
        """What is under way, of all streams of the account, in tokens."""
        return sum(job.tokens for job in self._known.values()) + sum(self._elsewhere.values())

    async def list(self) -> list[BatchJob]:
        """Ask the service for them."""
        return await self._batches.jobs(self._label)

    async def know(self, jobs: Sequence[BatchJob], taken_in: Sequence[BatchJob] = ()) -> None:
        """Know what is under way, as the service lists it. What is taken in at the moment is not."""
        under_way = [job for job in jobs if job.state is not JobState.REFUSED and job not in taken_in]
        listed = {job.id for job in jobs}
        self._listed |= listed
        known = {id_: job for id_, job in self._known.items() if id_ not in self._listed}
        for job in under_way:
            known[job.id] = self._known.get(job.id) or await self._read(job.id)
        self._known = known
        elsewhere = [it for label in self._others for it in await self._batches.jobs(label)]
        self._elsewhere = {
            job.id: self._elsewhere.get(job.id) or (await self._read(job.id)).tokens
            for job in elsewhere
            if job.state is not JobState.REFUSED
        }

    async def mend(self, jobs: Sequence[BatchJob]) -> None:
        """See to jobs that were refused, and to those that are not listed.

        Raise Unreachable when the service does not take what it is given, or never tells of it again.
        """
        refused = [job for job in jobs if job.state is JobState.REFUSED]
        for job in refused:
            await self._batches.discard(job.id)
            if not job.full:
                raise Unreachable(self._name, f"it refuses a batch: {job.reason}", _WITHOUT, code="no-batches")
        if refused:
            self._make_room(taken=len(jobs) - len(refused))
        elif any(job.state is JobState.ENDED for job in jobs):
            self._at_once = min(JOBS_AT_ONCE, self._at_once + 1)
            self.texts = min(self._most, 2 * self.texts)
        for id_ in self._known.keys() - self._listed:
            self._unlisted[id_] += 1
            if self._unlisted[id_] == UNLISTED:
                await self._batches.discard(id_)
                raise Unreachable(self._name, "it takes a batch, and does not list it", _WITHOUT, code="no-batches")

    def _make_room(self, taken: int) -> None:
        """The service has no room for so much: fewer jobs, and smaller ones if it has none for a single one."""
        if not taken and self.texts == 1:
            cause = "its batch queue is full, and none of it is this stream's"
            raise Unreachable(
                self._name, cause, "Try again when other jobs have ended, or ask for a higher limit", code="no-batches"
            )
        self._at_once = max(1, taken)
        if not taken:
            self.texts //= 2

    async def _read(self, id_: str) -> _Job:
        return _job([text for call in await self._batches.texts(id_) for text in call])

    async def submit(self, texts: Sequence[str]) -> None:
        """Hand in a job. Each text is a call of its own, so that none of them hurts another one."""
        made = await self._batches.submit(self._label, [[text] for text in texts])
        self._known[made.id] = _job(texts)


def _job(texts: Sequence[str]) -> _Job:
    return _Job(frozenset(map(digest, texts)), sum(map(most_tokens, texts)))


def most_tokens(text: str) -> int:
    """Return how many tokens a text has at most: no tokenizer makes more than one of a byte."""
    return len(text.encode("utf-8", "surrogatepass")) + AROUND
