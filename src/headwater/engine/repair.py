"""Repair: brings documents that a verification found wrong to what the log says. Only while no worker runs.

Everything goes through the fence like any other write, with the cause `repair`, which the fence takes at an equal
version when it names its base. What the log no longer holds is never repaired. Rows that no manifest names are the
index's own to remove.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headwater.clock import Clock
from headwater.embedding.gateway import Gateway
from headwater.engine.plan import Draft, Ready, draft, finish, plan
from headwater.engine.verification import (
    Finding,
    Kind,
    Subject,
    Survey,
    Verification,
    look,
    open_survey,
    sound_rows,
    verify,
)
from headwater.errors import Reject
from headwater.indexes.port import IndexWriter, Stored, Torn
from headwater.model.change import Change
from headwater.model.manifest import Cause, Manifest, Verdict, Write

#: So many documents are mended at once. They bound memory and the size of a write.
PAGE = 32


class Tools(msgspec.Struct, frozen=True):
    """What repairing takes beyond looking."""

    writer: IndexWriter
    gateway: Gateway
    clock: Clock


class Repair(msgspec.Struct, frozen=True):
    """How many documents were written anew, how many rows that no manifest named are gone, and what a verification
    finds after it.
    """

    mended: int
    removed: int
    after: Verification


async def repair(subject: Subject, tools: Tools) -> Repair:
    """Verify, mend what can be mended, and verify again. The caller sees to it that no worker runs."""
    survey = await open_survey(subject)
    await survey.run()
    repairer = _Repairer(subject, tools, survey)
    mended = await repairer.mend()
    after = await verify(subject)
    return Repair(mended, max(0, survey.orphans - after.orphans), after)


class _Repairer:
    def __init__(self, subject: Subject, tools: Tools, survey: Survey) -> None:
        self._reader = subject.reader
        self._tools = tools
        self._survey = survey

    async def mend(self) -> int:
        findings = self._survey.findings
        ids = list(findings)
        mended = 0
        for start in range(0, len(ids), PAGE):
            mended += await self._mend({document: findings[document] for document in ids[start : start + PAGE]})
        if self._survey.orphans:
            await self._tools.writer.purge(())
        return mended

    async def _mend(self, page: Mapping[str, Sequence[Finding]]) -> int:
        held = await look(self._reader, list(page))
        writes: list[Write] = []
        drafts: list[Draft] = []
        for document, findings in page.items():
            made = await self._make(findings, held.get(document))
            if isinstance(made, Write):
                writes.append(made)
            elif made is not None:
                drafts.append(made)
        return await self._apply(writes + await self._embed(drafts))

    async def _make(self, findings: Sequence[Finding], held: Stored | Torn | None) -> Write | Draft | None:
        """Make what the document must be of its change. None: nothing can be done for it."""
        place = next((finding.place for finding in findings if finding.place is not None), None)
        if any(finding.kind is Kind.UNVERIFIABLE for finding in findings) or place is None:
            return None
        change = await self._survey.change_at(place)
        base = held.manifest.revision if isinstance(held, Stored) else held.revision if held else None
        recipe, now_us = self._survey.recipe, self._tools.clock.now_us()
        if not isinstance(change, Change):
            return None
        decision = plan(change, None, recipe.number, now_us, passes=recipe.passes(change))
        if isinstance(decision, Ready):
            return msgspec.structs.replace(
                decision.write,
                manifest=msgspec.structs.replace(decision.write.manifest, cause=Cause.REPAIR),
                base=base,
            )
        try:
            derived = recipe.derive(change)
        except Reject:
            return None
        drafted = draft(change, self._trusted(held), derived, recipe.number, now_us)
        manifest = msgspec.structs.replace(drafted.manifest, cause=Cause.REPAIR)
        return msgspec.structs.replace(drafted, manifest=manifest, base=base)

    def _trusted(self, stored: Stored | Torn | None) -> Manifest | None:
        """Return the manifest with only those chunks whose rows are sound: all others are brought anew."""
        if not isinstance(stored, Stored):
            return None
        sound = sound_rows(stored, self._survey.dimensions, deep=True)
        chunks = tuple(ref for ref in stored.manifest.chunks if (ref.digest, ref.occurrence) in sound)
        return msgspec.structs.replace(stored.manifest, chunks=chunks)

    async def _embed(self, drafts: Sequence[Draft]) -> list[Write]:
        texts = {key[0]: text for drafted in drafts for key, text in drafted.needs.items()}
        embedded = await self._tools.gateway.embed(list(texts.values()))
        answers = zip(texts, embedded.answers, strict=True)
        vectors = {key: answer for key, answer in answers if isinstance(answer, bytes)}
        return [finish(it, vectors) for it in drafts if all(key in vectors for key, _ in it.needs)]

    async def _apply(self, writes: Sequence[Write]) -> int:
        if not writes:
            return 0
        answers = await self._tools.writer.apply(writes)
        return sum(answer.verdict is Verdict.APPLIED for answer in answers)
