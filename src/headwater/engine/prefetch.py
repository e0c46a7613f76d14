"""Prefetching: what a stream's documents need and nobody has paid for is bought through the service's batch interface,
at its lower price, before the worker asks for it.

It goes in turns. Each takes in what jobs have brought, walks through the log, and holds in the cache, for each
document, what its newest change needs; what is in no job yet is handed in. The last turn is one that finds nothing to
do. Who is killed on the way loses nothing: the service knows the jobs, and what was handed in tells what they are for.

A text that is refused or not answered is left to the worker, which finds out who is to blame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice

import msgspec

from headwater.embedding.answers import check
from headwater.embedding.batches import Batches, BatchJob, JobState
from headwater.embedding.cache import UNCLAIMED, Held, TextKey, key_of
from headwater.embedding.port import PROBE, Embedder
from headwater.embedding.witness import DRIFT, cosine, drifted
from headwater.engine.jobs import Jobs, most_tokens
from headwater.engine.needs import Page, Stock, needs
from headwater.engine.watch import cache_drift, same_as_cached
from headwater.errors import Reject, Retry
from headwater.model.change import digest

#: Of so many jobs the answers are taken in at once: they are in memory until they are held.
TAKEN_AT_ONCE = 2
#: What a call takes of a job's file beside its text.
_LINE_BYTES = 512
#: So many texts the model may refuse, before what a job brought counts as another model's.
_COMPARED = 8


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn found and did. `documents` need `texts`, each its own: of these `under_way` are in jobs, `refused`
    were refused, and `left` are in no job: there was no room, or nobody can pay for them. `held` were taken in, and are
    not among the texts. `tokens` is what was counted for those; `ahead` is what the texts have at most that are not
    refused.
    """

    documents: int = 0
    texts: int = 0
    under_way: int = 0
    refused: int = 0
    left: int = 0
    held: int = 0
    tokens: int = 0
    ahead: int = 0


class Prefetcher:
    """Prefetches for one stream. `label` names its jobs, `others` those of the streams that use the same account; one
    process at a time may use it. `affords` is asked before a job is handed in, with the tokens of all that is under
    way, and its own.
    """

    def __init__(
        self,
        stock: Stock,
        embedder: Embedder,
        batches: Batches,
        *,
        label: str,
        others: Sequence[str],
        affords: Callable[[int], Awaitable[bool]],
    ) -> None:
        self._stock = stock
        self._embedder = embedder
        self._model = embedder.describe()
        self._batches = batches
        self._jobs = Jobs(batches, label, others, self._model.name)
        self._affords = affords
        self._refused: set[bytes] = set()

    def __repr__(self) -> str:
        return f"Prefetcher({self._stock.stream!r}, {self.working} jobs under way)"

    @property
    def working(self) -> int:
        """How many jobs were under way at the end of the last turn."""
        return len(self._jobs)

    async def jobs(self) -> list[BatchJob]:
        """Ask for the jobs."""
        return await self._jobs.list()

    async def look(self) -> Turn:
        """Find what is needed, and change nothing."""
        await self._jobs.know(await self.jobs())
        return await self._walk(None)

    async def turn(self) -> Turn:
        """Take in what jobs have brought, and hand in what is needed. To be repeated when it raises Retry.

        Raise Unreachable when the service does not take jobs, Halt when another model answers.
        """
        await self._witness()
        jobs = await self.jobs()
        ended = [job for job in jobs if job.state is JobState.ENDED][:TAKEN_AT_ONCE]
        await self._jobs.know(jobs, ended)
        await self._jobs.mend(jobs)
        brought: dict[bytes, Held] = {}
        for job in ended:
            brought.update(await self._take(job))
        found = await self._walk(brought)
        # Paid for, and nobody needs it any more.
        await self._owe(sum(it.tokens for it in brought.values()), [job.id for job in ended])
        for job in ended:
            await self._batches.discard(job.id)
        return found

    # --- the model

    async def _witness(self) -> None:
        """Find out whether the model is the one that filled the cache."""
        if not await same_as_cached(self._stock.cache, self._stock.space, await self._ask(PROBE)):
            raise cache_drift(self._model.name)

    async def _ask(self, text: str) -> bytes:
        (vector,) = check(await self._embedder.embed([text]), 1, self._model.name, self._model.dimensions)
        return vector

    async def _compared(self, brought: Mapping[str, Held]) -> bool:
        """Tell whether the model, asked for one of the texts now, answers what the job brought."""
        for text, held in islice(brought.items(), _COMPARED):
            with suppress(Reject):
                return cosine(await self._ask(text), held.vector) >= DRIFT
        return not brought

    # --- jobs

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
            except (Reject, Retry):
                self._refused.update(map(digest, texts))
            else:
                for text, vector in zip(texts, vectors, strict=True):
                    brought[text] = Held(key_of(text), vector, answer.tokens // len(texts))
        if not await self._compared(brought):
            await self._batches.discard(job.id)
            raise drifted(self._model.name)
        return {held.text.digest: held for held in brought.values()}

    async def _hand_in(self, basket: _Basket, brought: Mapping[bytes, Held]) -> Counter[str]:
        """Hand in what is in the basket, unless there is no room for a job more or nobody can pay for it. Empty it, and
        tell whether that is under way or left.
        """
        tokens, wanted, texts = basket.tokens, basket.wanted, basket.empty()
        # What was brought is in no job any more, and not all of it is held yet.
        spent = self._jobs.tokens + sum(it.tokens for it in brought.values())
        if not texts or not self._jobs.has_room or not await self._affords(spent + tokens):
            return Counter(left=wanted)
        await self._jobs.submit(texts)
        return Counter(under_way=wanted)

    # --- documents

    async def _walk(self, brought: dict[bytes, Held] | None) -> Turn:
        """Go through the documents: hold what was brought, and hand in what is in no job yet. None: only look."""
        found = Counter[str]()
        basket = _Basket(self._jobs.texts, self._jobs.bytes)
        async for page in needs(self._stock):
            if brought is not None:
                found += await self._hold(page, brought)
            for wanted in page.needed.values():
                texts = {key: text for key, text in wanted.items() if key not in (brought or ())}
                found["documents"] += bool(texts)
                found["texts"] += len(texts)
                for key, text in texts.items():
                    found += await self._want(key, text, basket, brought)
        found += await self._hand_in(basket, brought or {})
        return Turn(**found)

    async def _want(self, key: bytes, text: str, basket: _Basket, brought: Mapping[bytes, Held] | None) -> Counter[str]:
        """See that a text is bought; tell what becomes of it, or of what had to make room for it."""
        if key in self._refused:
            return Counter(refused=1)
        found = Counter(ahead=most_tokens(text))
        if key in self._jobs:
            found["under_way"] += 1
        elif brought is None:
            found["left"] += 1
        else:
            if basket.is_full_with(text):
                found += await self._hand_in(basket, brought)
            basket.add(key, text)
        return found

    async def _hold(self, page: Page, brought: dict[bytes, Held]) -> Counter[str]:
        """Hold what was brought for documents that need it, and nothing for those that need nothing more."""
        stock = self._stock
        released = await stock.cache.release(stock.space.tenant, stock.stream, page.settled)
        await self._owe(sum(released.values()), sorted(released))
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

    async def _owe(self, tokens: int, of: Sequence[str]) -> None:
        """Have the worker bill what was paid for and belongs to no document any more."""
        if tokens:
            stock = self._stock
            nothing = Held(TextKey(digest(repr(of)), 0), bytes(4 * stock.space.dimensions), tokens)
            await stock.cache.hold(stock.space, stock.stream, {UNCLAIMED: [nothing]})


class _Basket:
    """Different texts that go into one job: at most so many, of so many bytes in JSON."""

    def __init__(self, texts: int, size: int) -> None:
        self._most_texts = texts
        self._most_bytes = size
        self._bytes = 0
        self._texts: dict[bytes, str] = {}
        self.wanted = 0  # with those that several documents need
        self.tokens = 0

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
            self.tokens += most_tokens(text)

    def empty(self) -> list[str]:
        """Take all out."""
        texts, self._texts = list(self._texts.values()), {}
        self._bytes = self.wanted = self.tokens = 0
        return texts


def _bytes(text: str) -> int:
    return len(msgspec.json.encode(text)) + _LINE_BYTES
