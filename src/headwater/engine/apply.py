"""Carries decisions out: drives chains of changes through plan, derive, embed and apply until each change is settled.

It works in rounds over many documents at once. A document leaves the rounds when a write of it was applied, or when the
index turns out to hold as much already. A conflict means that another writer was faster: the next round plans again. A
change that is poison is marked dead, and the next older one of its document is taken up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec

from headwater.clock import Clock
from headwater.embedding.cache import UNCLAIMED, Kept
from headwater.embedding.gateway import Gateway
from headwater.embedding.orders import Refused
from headwater.engine.commit import Positions
from headwater.engine.job import Job
from headwater.engine.ordering import REWIND_CURE, Chain, Waiting
from headwater.engine.plan import Derive, Draft, Ready, Repeat, Stale, draft, finish, is_removal, plan
from headwater.errors import Halt, Reject, Retry, Unreachable
from headwater.indexes.port import IndexWriter
from headwater.model.change import Change, Undecodable
from headwater.model.document import Recipe
from headwater.model.fence import FROZEN
from headwater.model.manifest import Answer, Mark, State, Verdict, Write
from headwater.model.receipt import Counts, Receipt, Usage
from headwater.model.version import compare
from headwater.patience import Patience

T = TypeVar("T")

#: Runs a pure computation off the loop. The simulation runs it in place.
Offload = Callable[[Callable[[], T]], Awaitable[T]]

#: A job, what is to be written for it now, and what that cost.
_Step = tuple[Job, Write | Mark, Counts]


class Applier:
    """Settles chains in one index generation."""

    def __init__(  # noqa: PLR0913 (all that settling takes, each by its name)
        self,
        index: IndexWriter,
        recipe: Recipe,
        gateway: Gateway,
        *,
        clock: Clock,
        patience: Patience,
        offload: Offload[list[Draft | Reject]],
        positions: Positions,
        kept: Kept | None = None,
    ) -> None:
        self._index = index
        self._kept = kept
        self._recipe = recipe
        self._gateway = gateway
        self._clock = clock
        self._patience = patience
        self._offload = offload
        self._positions = positions
        self.usage = Usage()
        self.refused: Counter[Verdict] = Counter()  # writes that another writer was faster than, until somebody looks

    async def settle(self, chains: Sequence[Chain]) -> list[Receipt]:
        """Bring every change of the chains (one a document) to its outcome; return a receipt for each."""
        jobs = [Job(chain) for chain in chains]
        pending = jobs
        while pending:
            await self._round(pending)
            pending = [job for job in pending if job.left]
        # Whatever became of them, for a crash after a write leaves a repetition. A cache that is away holds up no work:
        # the document's next change releases, or the next prefetch.
        with suppress(Retry, Unreachable):
            await self._release(jobs)
        for job in jobs:
            if job.bought_ahead:
                job.bill()
        return [receipt for job in jobs for receipt in job.receipts]

    async def _round(self, jobs: Sequence[Job]) -> None:
        manifests = await self._patience.call(lambda: self._index.manifests([job.id for job in jobs]))
        writes: list[_Step] = []
        deriving: list[Job] = []
        for job in jobs:
            job.stored = manifests.get(job.id)
            decision = self._decide(job)
            if isinstance(decision, Ready):
                writes.append((job, decision.write, decision.counts))
            elif isinstance(decision, Derive):
                deriving.append(job)
        writes += await self._embed(await self._derive(deriving))
        writes += [(job, self._mark(job), Counts()) for job in jobs if job.poison is not None]
        if writes:
            await self._apply(writes)

    def _decide(self, job: Job) -> Ready | Derive | None:
        """Decide about the newest change left. None: it needs no write, or it is poison."""
        change = job.left[0]
        if job.refused and job.holds_nothing:
            job.below_floor(self._recipe.number)
            return None
        job.refused = False
        if isinstance(change, Undecodable):
            order = compare(job.stored.version, change.version) if job.stored else -1
            if job.stored is not None and order >= 0:
                if order == 0 and job.stored.body_digest != change.digest:
                    raise Halt("log-rewind", f"version {change.version} is in the index with another body", REWIND_CURE)
                job.overtaken(job.stored)
            else:
                job.poison = change.reason
            return None
        passes = not job.removes and self._recipe.passes(change)
        decision = plan(change, job.stored, self._recipe.number, self._clock.now_us(), passes=passes)
        if isinstance(decision, Stale):
            job.overtaken(decision.by)
            return None
        if isinstance(decision, Repeat):
            held = decision.manifest
            job.settled(held, job.counts or Counts(chunks=len(held.chunks)), held.outcome_us)
            return None
        return decision

    async def _derive(self, jobs: Sequence[Job]) -> list[tuple[Job, Draft]]:
        if not jobs:
            return []
        now_us = self._clock.now_us()
        results = await self._offload(lambda: [_draft(self._recipe, job, now_us) for job in jobs])
        drafts = []
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Reject):
                job.poison = result.reason
            else:
                drafts.append((job, result))
        return drafts

    async def _embed(self, drafts: Sequence[tuple[Job, Draft]]) -> list[_Step]:
        texts = {key[0]: text for _, drafted in drafts for key, text in drafted.needs.items()}
        held = await self._patience.call(lambda: self._index.vectors(list(texts))) if texts else {}
        missing = [digest for digest in texts if digest not in held]
        if self._kept is not None and missing:
            bought = await self._kept.get({digest: texts[digest] for digest in missing})
            if bought:
                await self._gateway.ensure()
            held = {**held, **bought}
            missing = [digest for digest in missing if digest not in held]
        embedded = await self._gateway.embed([texts[digest] for digest in missing])
        self.usage += embedded.usage
        answers = dict(zip(missing, embedded.answers, strict=True))
        if self._kept is not None:
            await self._kept.put({texts[key]: it for key, it in answers.items() if isinstance(it, bytes)})
        costs = {key: cost for key, cost, paid in zip(missing, embedded.tokens, embedded.paid, strict=True) if paid}
        return self._complete(drafts, held, answers, costs)

    def _complete(
        self,
        drafts: Sequence[tuple[Job, Draft]],
        held: Mapping[bytes, bytes],
        answers: Mapping[bytes, bytes | Refused],
        costs: Mapping[bytes, int],
    ) -> list[_Step]:
        now_us = self._clock.now_us()
        vectors = {**held, **{key: answer for key, answer in answers.items() if isinstance(answer, bytes)}}
        paid: set[bytes] = set()
        writes: list[_Step] = []
        for job, drafted in drafts:
            needed = {key for key, _ in drafted.needs}
            refused = next((a for key in needed if isinstance(a := answers.get(key), Refused)), None)
            if refused is not None:
                job.poison = refused.reason
                continue
            job.embedded_us = now_us
            # A text that two documents need at the same time is paid for once, by the first of them.
            bought = {key for key in needed if key in costs and key not in paid}
            paid |= bought
            counts = Counts(
                chunks=len(drafted.manifest.chunks),
                kept=drafted.kept,
                reused=len(drafted.needs) - len(bought),
                embedded=len(bought),
                removed=drafted.removed,
                tokens=sum(costs[key] for key in bought),
            )
            self.usage += Usage(reused=counts.reused)
            job.counts = counts
            writes.append((job, finish(drafted, vectors), counts))
        return writes

    async def _release(self, jobs: Sequence[Job]) -> None:
        """Let go of what was bought ahead for documents. Its tokens count from now on."""
        if self._kept is None or not jobs:
            return
        tokens = await self._kept.release([UNCLAIMED, *(job.id for job in jobs)])
        for job in jobs:
            job.bought_ahead += tokens.get(job.id, 0)
        total = sum(tokens.values())
        self.usage += Usage(tokens=total, batch_tokens=total)

    def _mark(self, job: Job) -> Mark:
        return Mark(
            id=job.id,
            recipe=self._recipe.number,
            base=job.stored.revision if job.stored else None,
            cap=job.stored.cap if job.stored else None,
            time_us=self._clock.now_us(),
        )

    async def _apply(self, writes: Sequence[_Step]) -> None:
        """Write, and take note of each answer. What is neither applied nor refused for good is planned again."""
        finished = [place for job, write, _ in writes if isinstance(write, Write) for place in job.places]
        if self._kept is not None:
            # First: a crash after the write would find nothing left to forget, and what is deleted is to be gone.
            gone = [job for job, write, _ in writes if _removes(write)]
            stored = [job.stored for job in gone if job.stored is not None]
            forget = partial(self._kept.forget, [ref.digest for it in stored for ref in it.chunks])
            await self._patience.call(forget)
            await self._patience.call(partial(self._release, gone))

        async def once() -> list[Answer]:
            positions = self._positions.assuming(finished)
            answers = await self._index.apply([write for _, write, _ in writes], positions)
            for answer in answers:
                _refuse(answer)
            self._positions.record(positions, answers)
            return answers

        for (job, write, counts), answer in zip(writes, await self._patience.call(once), strict=True):
            if answer.verdict is not Verdict.APPLIED:
                self.refused[answer.verdict] += 1
                job.poison = None
                # Nothing was newer, so it was the floor, or a fence that came meanwhile: the next look tells which.
                job.refused = job.holds_nothing and answer.verdict is Verdict.STALE
            elif isinstance(write, Mark):
                job.buried(self._recipe.number, answer.revision)
            else:
                manifest = msgspec.structs.replace(write.manifest, revision=answer.revision)
                job.settled(manifest, counts, self._clock.now_us())


def _removes(write: Write | Mark) -> bool:
    return isinstance(write, Write) and write.manifest.state is not State.LIVE


def _draft(recipe: Recipe, job: Job, now_us: int) -> Draft | Reject:
    change = job.left[0]
    assert isinstance(change, Change)
    try:
        derived = recipe.derive(change)
    except Reject as reject:
        return reject
    except Exception as error:  # noqa: BLE001 (a defect of the recipe or of a library under it hurts this change only)
        return Reject(f"the recipe failed with {type(error).__name__}")
    return draft(change, job.stored, derived, recipe.number, now_us)


def _refuse(answer: Answer) -> None:
    if answer.verdict is Verdict.REJECTED:
        if answer.reason == FROZEN:
            raise Retry("index", answer.reason)
        raise Halt("schema-skew", answer.reason, "Restart this worker with the stream's current configuration")


def screen(recipe: Recipe, change: Waiting) -> tuple[Waiting, bool]:
    """Tell whether a change only takes away under this recipe, and so never waits.

    A change at which the filter itself fails is none that anybody can apply.
    """
    if isinstance(change, Undecodable):
        return change, False
    try:
        return change, is_removal(change, passes=recipe.passes(change))
    except Reject as reject:
        reason = reject.reason
    except Exception as error:  # noqa: BLE001 (a defect of the filter hurts this change only)
        reason = f"the filter failed with {type(error).__name__}"
    return (
        Undecodable(
            id=change.id,
            version=change.version,
            place=change.place,
            digest=change.digest,
            reason=reason,
            appended_us=change.appended_us,
            size_bytes=change.size_bytes,
        ),
        False,
    )
