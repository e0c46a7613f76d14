"""Prefetching: what a stream's documents need and nobody has paid for is bought through the service's batch interface,
at its lower price, before the worker asks for it.

It goes in turns. Each takes in what jobs have brought, walks through the log, and holds in the cache, for each
document, what its newest change needs; what is in no job yet is handed in. The last turn is one that finds nothing to
do. Who is killed on the way loses nothing: the service knows the jobs, and what was handed in tells what they are for.

A text that is refused, cut or not answered is left to the worker, which finds out who is to blame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import msgspec

from headwater.embedding.answers import check
from headwater.embedding.batches import Batches, BatchJob, JobState
from headwater.embedding.cache import Held, key_of
from headwater.embedding.estimate import AROUND
from headwater.embedding.port import Count, Embedder
from headwater.embedding.witness import DRIFT, cosine, drifted
from headwater.engine.needs import Page, Stock, needs
from headwater.errors import Reject, Retry, Unreachable
from headwater.model.change import digest

#: So many jobs are under way at most. What one holds is what the service says, so this bounds what is remembered.
JOBS_AT_ONCE = 8
#: Of so many jobs the answers are taken in at once: they are in memory until they are held.
TAKEN_AT_ONCE = 2
#: What a call takes of a job's file beside its text.
_LINE_BYTES = 512
#: So many texts the model may refuse, before what a job brought counts as another model's.
_COMPARED = 8


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn found and did. `documents` need `texts`, each its own: of these `under_way` are in jobs, `refused`
    were refused, and `left` are in no job: there was no room, or nobody can pay for them. `held` were taken in, and are
    not among the texts. `tokens` is what was counted for those; `ahead` is what the texts have that are not refused,
    from above where the tokenizer is not known.
    """

    documents: int = 0
    texts: int = 0
    under_way: int = 0
    refused: int = 0
    left: int = 0
    held: int = 0
    tokens: int = 0
    ahead: int = 0


class _Job(NamedTuple):
    """What is in a job: the digests of its texts, and how many tokens they have."""

    digests: frozenset[bytes]
    tokens: int


class Prefetcher:
    """Prefetches for one stream. `label` names its jobs; one process at a time may use it.

    `affords` is asked before a job is handed in, with its tokens and those of the jobs under way.
    """

    def __init__(
        self,
        stock: Stock,
        embedder: Embedder,
        batches: Batches,
        *,
        label: str,
        affords: Callable[[int], Awaitable[bool]],
    ) -> None:
        self._stock = stock
        self._embedder = embedder
        self._model = embedder.describe()
        self._counts: Count | None = getattr(embedder, "count", None)
        self._batches = batches
        self._label = label
        self._affords = affords
        self._known: dict[str, _Job] = {}  # the jobs under way
        self._refused: set[bytes] = set()
        self._at_once = JOBS_AT_ONCE
        limits = batches.limits()
        self._texts = min(limits.texts, limits.calls)
        self._bytes = limits.bytes

    def __repr__(self) -> str:
        return f"Prefetcher({self._stock.stream!r}, {len(self._known)} jobs under way)"

    async def jobs(self) -> list[BatchJob]:
        """Ask for the jobs."""
        return await self._batches.jobs(self._label)

    @property
    def working(self) -> int:
        """How many jobs were under way at the end of the last turn."""
        return len(self._known)

    async def look(self) -> Turn:
        """Find what is needed, and change nothing."""
        await self._learn(await self.jobs(), [])
        return await self._walk(None)

    async def turn(self) -> Turn:
        """Take in what jobs have brought, and hand in what is needed. To be repeated when it raises Retry.

        Raise Unreachable when the service does not take jobs, Halt when another model answers them.
        """
        jobs = await self.jobs()
        ended = [job for job in jobs if job.state is JobState.ENDED][:TAKEN_AT_ONCE]
        await self._learn(jobs, ended)
        brought: dict[bytes, Held] = {}
        for job in ended:
            brought.update(await self._take(job))
        found = await self._walk(brought)
        for job in ended:
            await self._batches.discard(job.id)
        return found

    # --- jobs

    async def _learn(self, jobs: Sequence[BatchJob], ended: Sequence[BatchJob]) -> None:
        """Know what is under way, the `ended` ones apart, and why a job was refused."""
        taken = [job for job in jobs if job.state is not JobState.REFUSED]
        for job in jobs:
            if job.state is JobState.REFUSED:
                await self._batches.discard(job.id)
                if not job.full:
                    cure = "`headwater run` embeds without it"
                    raise Unreachable(self._model.name, f"it refuses a batch: {job.reason}", cure, code="no-batches")
                self._make_room(len(taken))
        under_way = [job for job in taken if job not in ended]
        for job in under_way:
            if job.id not in self._known:
                calls = await self._batches.texts(job.id)
                self._known[job.id] = self._job([text for call in calls for text in call])
        self._known = {job.id: self._known[job.id] for job in under_way}

    def _make_room(self, taken: int) -> None:
        """The service has no room for so much: fewer jobs, and smaller ones if it has none for a single one."""
        if not taken and self._texts == 1:
            cause = "it has no room for a batch of a single text"
            raise Unreachable(self._model.name, cause, "Ask the service for a higher limit", code="no-batches")
        self._at_once = max(1, taken)
        if not taken:
            self._texts //= 2

    def _job(self, texts: Sequence[str]) -> _Job:
        return _Job(frozenset(map(digest, texts)), sum(map(self._tokens, texts)))

    def _tokens(self, text: str) -> int:
        return self._counts(text) if self._counts else len(text.encode("utf-8", "surrogatepass")) + AROUND

    async def _take(self, job: BatchJob) -> dict[bytes, Held]:
        """Return what a job brought, by the digests of its texts. What was not done is as if it had not been asked for.
        What was refused is not asked for again, nor a job of which nothing was done.
        """
        calls = await self._batches.texts(job.id)
        answers = await self._batches.answers(job.id)
        brought: dict[str, Held] = {}
        for place, texts in enumerate(calls):
            if answers and place not in answers:
                continue
            answer = answers.get(place, "the service had no time for any of the job")
            try:
                if isinstance(answer, str):
                    raise Reject(answer)
                vectors = check(answer, len(texts), self._model.name, self._model.dimensions)
                if self._counts and answer.tokens + AROUND * len(texts) < sum(map(self._counts, texts)):
                    raise Reject("it was cut")
            except (Reject, Retry):
                self._refused.update(map(digest, texts))
            else:
                for text, vector in zip(texts, vectors, strict=True):
                    brought[text] = Held(key_of(text), vector, answer.tokens // len(texts))
        if not await self._compared(brought):
            await self._batches.discard(job.id)
            raise drifted(self._model.name)
        return {held.text.digest: held for held in brought.values()}

    async def _compared(self, brought: Mapping[str, Held]) -> bool:
        """Tell whether the model, asked for one of the texts now, answers what the job brought."""
        for text, held in islice(brought.items(), _COMPARED):
            with suppress(Reject):
                answer = await self._embedder.embed([text])
                (vector,) = check(answer, 1, self._model.name, self._model.dimensions)
                return cosine(vector, held.vector) >= DRIFT
        return not brought

    async def _hand_in(self, basket: _Basket) -> Counter[str]:
        """Hand in what is in the basket, unless there is no room for a job more or nobody can pay for it. Empty it, and
        tell whether that is under way or left.
        """
        wanted, texts = basket.wanted, basket.empty()
        job = self._job(texts)
        under_way = sum(it.tokens for it in self._known.values())
        if not texts or len(self._known) >= self._at_once or not await self._affords(under_way + job.tokens):
            return Counter(left=wanted)
        made = await self._batches.submit(self._label, [[text] for text in texts])
        self._known[made.id] = job
        return Counter(under_way=wanted)

    # --- documents

    async def _walk(self, brought: dict[bytes, Held] | None) -> Turn:
        """Go through the documents: hold what was brought, and hand in what is in no job yet. None: only look."""
        found = Counter[str]()
        basket = _Basket(self._texts, self._bytes)
        async for page in needs(self._stock):
            if brought is not None:
                found += await self._hold(page, brought)
            for wanted in page.needed.values():
                texts = {key: text for key, text in wanted.items() if key not in (brought or ())}
                found["documents"] += bool(texts)
                found["texts"] += len(texts)
                for key, text in texts.items():
                    if key in self._refused:
                        found["refused"] += 1
                        continue
                    found["ahead"] += self._tokens(text)
                    if any(key in job.digests for job in self._known.values()):
                        found["under_way"] += 1
                        continue
                    if brought is None:
                        found["left"] += 1
                        continue
                    if basket.is_full_with(text):
                        found += await self._hand_in(basket)
                    basket.add(key, text)
        found += await self._hand_in(basket)
        return Turn(**found)

    async def _hold(self, page: Page, brought: dict[bytes, Held]) -> Counter[str]:
        """Hold what was brought for documents that need it, and nothing for those that need nothing more."""
        stock = self._stock
        await stock.cache.release(stock.space.tenant, stock.stream, page.settled)
        held: dict[str, list[Held]] = {}
        for id_, texts in page.needed.items():
            for key in texts.keys() & brought.keys():
                held.setdefault(id_, []).append(brought[key])
                # It was paid for once: the other documents that need it have it for nothing.
                brought[key] = brought[key]._replace(tokens=0)
        if held:
            await stock.cache.hold(stock.space, stock.stream, held)
        all_of_it = [it for of_one in held.values() for it in of_one]
        return Counter(held=len(all_of_it), tokens=sum(it.tokens for it in all_of_it))


class _Basket:
    """Different texts that go into one job: at most so many, of so many bytes in JSON."""

    def __init__(self, texts: int, size: int) -> None:
        self._most_texts = texts
        self._most_bytes = size
        self._bytes = 0
        self._texts: dict[bytes, str] = {}
        self.wanted = 0  # with those that several documents need

    def is_full_with(self, text: str) -> bool:
        """Tell whether another text is one too many. The first one never is."""
        more = self._bytes + _bytes(text) > self._most_bytes or len(self._texts) >= self._most_texts
        return more and bool(self._texts)

    def add(self, key: bytes, text: str) -> None:
        """Put a text in, by its digest."""
        self.wanted += 1
        if key not in self._texts:
            self._texts[key] = text
            self._bytes += _bytes(text)

    def empty(self) -> list[str]:
        """Take all out."""
        texts, self._texts, self._bytes, self.wanted = list(self._texts.values()), {}, 0, 0
        return texts


def _bytes(text: str) -> int:
    return len(msgspec.json.encode(text)) + _LINE_BYTES
