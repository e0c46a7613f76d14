"""One document's chain on its way through the engine: what is left to settle, and the receipts so far."""

from __future__ import annotations

from collections import deque

import msgspec

from headwater.engine.ordering import Chain, Waiting
from headwater.model.change import Change
from headwater.model.manifest import Manifest, Outcome, State
from headwater.model.receipt import Counts, Receipt
from headwater.model.version import BEFORE_ALL, Place, Version


class Job:
    """A chain, the newest change first. Its verbs take changes out and write their receipts."""

    def __init__(self, chain: Chain) -> None:
        self.id = chain.id
        self.removes = chain.removes
        self.left: deque[Waiting] = deque(chain.changes)
        self.receipts: list[Receipt] = []
        self.stored: Manifest | None = None
        self.poison: str | None = None  # why the newest change left cannot be applied, until that is marked
        self.counts: Counts | None = None  # what its embedding cost, should the write have to be repeated
        self.embedded_us = 0
        self.bought_ahead = 0  # tokens, of what was held for the document and let go of
        self.refused = False  # a write of it was stale although the index held nothing

    def __repr__(self) -> str:
        return f"Job({len(self.left)} left, {len(self.receipts)} receipts)"

    @property
    def places(self) -> list[Place]:
        """Where its unsettled changes lie."""
        return [change.place for change in self.left]

    @property
    def holds_nothing(self) -> bool:
        """Whether the index holds nothing of the document, as far as this round has seen."""
        return self.stored is None or self.stored.state is State.ABSENT

    def settled(self, manifest: Manifest, counts: Counts, applied_us: int) -> None:
        """The newest change is in the index as `manifest`; the older ones were overtaken by it."""
        newest, *older = self.left
        self.left.clear()
        self.receipts.append(
            msgspec.structs.replace(
                _receipt(newest, manifest, manifest.outcome),
                cause=manifest.cause,
                counts=counts,
                embedded_us=self.embedded_us,
                applied_us=applied_us,
            )
        )
        for change in older:
            self.receipts.append(_receipt(change, manifest, Outcome.SUPERSEDED, newest.version))

    def overtaken(self, by: Manifest) -> None:
        """The index holds a newer version than any that is left."""
        for change in self.left:
            self.receipts.append(_receipt(change, by, Outcome.STALE, by.version))
        self.left.clear()

    def below_floor(self, recipe: int) -> None:
        """The index holds nothing of the document, and takes nothing so old: a later fence of it was collected."""
        nothing = Manifest(
            id=self.id,
            version=BEFORE_ALL,
            place=self.left[0].place,
            recipe=recipe,
            state=State.ABSENT,
            outcome=Outcome.STALE,
            outcome_us=0,
            body_digest=b"",
        )
        for change in self.left:
            receipt = _receipt(change, nothing, Outcome.STALE)
            self.receipts.append(msgspec.structs.replace(receipt, reason="it is older than the index's floor"))
        self.left.clear()

    def buried(self, recipe: int, revision: int) -> None:
        """The newest change is a dead letter; the next older one is to be taken up."""
        change = self.left.popleft()
        self.receipts.append(
            Receipt(
                document=self.id,
                version=change.version,
                place=change.place,
                recipe=recipe,
                revision=revision,
                outcome=Outcome.DEAD,
                reason=self.poison or "",
                body_digest=change.digest,
                changed_us=_changed_us(change),
                appended_us=change.appended_us,
            )
        )
        self.poison, self.counts, self.embedded_us = None, None, 0

    def bill(self) -> None:
        """Its newest change pays for what was bought ahead: that was what the document needed then."""
        newest = self.receipts[0]
        counts = msgspec.structs.replace(newest.counts, tokens=newest.counts.tokens + self.bought_ahead)
        self.receipts[0] = msgspec.structs.replace(newest, counts=counts)


def _receipt(change: Waiting, manifest: Manifest, outcome: Outcome, by: Version | None = None) -> Receipt:
    return Receipt(
        document=change.id,
        version=change.version,
        place=change.place,
        recipe=manifest.recipe,
        revision=manifest.revision,
        outcome=outcome,
        overtaken_by=by,
        body_digest=change.digest,
        changed_us=_changed_us(change),
        appended_us=change.appended_us,
        trace=change.trace if isinstance(change, Change) else "",
    )


def _changed_us(change: Waiting) -> int:
    return change.time_us if isinstance(change, Change) else 0
