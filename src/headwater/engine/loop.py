"""The engine's loop over one stream: poll, screen, work, settle. Read this first.

The loop owns all state and decides nothing by itself: what waits is `Ordering`'s, what may be committed is
`Frontier`'s, what becomes of a document is `Applier`'s. Polling, working and settling run beside each other as tasks;
whatever one of them returns is absorbed here, in one place, so that nothing needs a lock.

    poll -> screen -> [removals: apply at once] -> wait -> plan, derive, embed, apply -> settle
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import cmp_to_key, partial
from typing import Any

import msgspec

from headwater.clock import Clock
from headwater.embedding.cache import Kept
from headwater.embedding.gateway import Gateway
from headwater.engine.apply import Applier, Offload, screen
from headwater.engine.commit import Frontier, Positions
from headwater.engine.ordering import Chain, Ordering, Waiting
from headwater.engine.plan import Draft
from headwater.engine.rejections import Rejections
from headwater.errors import Lost, Reject
from headwater.indexes.port import IndexWriter
from headwater.log.port import Batch, LogReader
from headwater.model.change import Change, Record, Undecodable, mark_of
from headwater.model.document import Recipe
from headwater.model.generation import Position
from headwater.model.manifest import Outcome
from headwater.model.receipt import Receipt, Settlement, Usage
from headwater.model.registry import Epoch
from headwater.model.version import Place, compare
from headwater.observability.signals import Emit, Event
from headwater.patience import Patience

#: Which part of what may wait is for changes that are worked on again.
_RETAKEN_SHARE = 4

#: Reads a record. Pure; never raises.
Decode = Callable[[Record], Waiting]


class Limits(msgspec.Struct, frozen=True):
    """How much a stream holds at once. They bound memory, whatever the corpus."""

    poll_records: int = 1_000
    poll_bytes: int = 4 << 20
    poll_wait_s: float = 1.0
    waiting_bytes: int = 16 << 20
    open_records: int = 20_000
    retaken_records: int = 1_000
    work_documents: int = 64
    work_bytes: int = 1 << 20
    works: int = 3
    full_wait_s: float = 0.05
    drain_s: float = 5.0


class Parts(msgspec.Struct, frozen=True):
    """What the loop works with: one stream's log and recipe, one index generation, one model, and what was paid for."""

    reader: LogReader
    decode: Decode
    recipe: Recipe
    gateway: Gateway
    index: IndexWriter
    epochs: tuple[Epoch, ...]
    kept: Kept | None = None


class Loop:
    """Settles one stream's changes in one index generation, until it is told to stop or has reached its goal."""

    def __init__(
        self,
        parts: Parts,
        *,
        clock: Clock,
        patience: Patience,
        offload: Offload[list[Draft | Reject]],
        emit: Emit,
        limits: Limits | None = None,
    ) -> None:
        self._reader = parts.reader
        self._decode = parts.decode
        self._recipe = parts.recipe
        self._index = parts.index
        self._patience = patience
        self._clock = clock
        self._emit = emit
        self._limits = limits or Limits()
        self._frontier = Frontier()
        self._positions = Positions(self._frontier, parts.epochs)
        self._applier = Applier(
            parts.index,
            parts.recipe,
            parts.gateway,
            clock=clock,
            patience=patience,
            offload=offload,
            positions=self._positions,
            kept=parts.kept,
        )
        self._ordering = Ordering()
        self._rejections = Rejections()
        #: What its source could not read: told by the source, and no sign of anything wrong from there on.
        self._unreadable: set[Place] = set()
        self._receipts: list[tuple[Receipt, int]] = []  # each with the time when its change was read
        self._retaken: dict[Place, int] = {}  # with the bytes that each may hold, until it is settled
        self._leaving: frozenset[int] = frozenset()
        self._usage = Usage()
        self._tasks: dict[asyncio.Task[Any], Callable[[Any], None]] = {}
        self._running = {"poll": 0, "work": 0, "removal": 0, "settle": 0}
        self._wake = asyncio.Event()
        self._stopping = False
        self._removing_bytes = 0
        self._goal: Mapping[int, int] | None = None

    @property
    def too_many_rejected(self) -> str | None:
        """Why the loop ended by itself, if it did."""
        return self._rejections.too_many

    async def run(self) -> None:
        """Run until stopped, until too much is rejected, or until the goal is reached, if there is one.

        What is in flight at the end is finished and settled first. Raise whatever a port raises, but Retry and Lost.
        """
        self._start("wake", self._wake.wait(), lambda _: self._wake.clear())
        try:
            while True:
                self._begin()
                if self._over():
                    return
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in self._tasks if task in done]:  # a set has no order of its own
                    self._tasks.pop(task)(task.result())
        finally:
            await self._abandon()

    def stop(self) -> None:
        """Take nothing new; end when what is in flight is settled."""
        self._stopping = True
        self._wake.set()

    def aim(self, goal: Mapping[int, int]) -> None:
        """End when everything before these offsets (by partition) is committed."""
        self._goal = goal
        self._wake.set()

    @property
    def looks_elsewhere(self) -> bool:
        """Whether the goal is about partitions too that are not this worker's at the moment."""
        return self._goal is not None and not self._frontier.has(self._goal)

    def note_elsewhere(self, committed: Mapping[int, int]) -> None:
        """Take note of how far others have committed their partitions (partition -> offset)."""
        self._frontier.note_elsewhere(committed)
        self._wake.set()

    def retakes(self, place: Place) -> bool:
        """Tell whether the change there is being worked on again already."""
        return place in self._retaken

    def retake(self, change: Waiting) -> None:
        """Work on a change again that was dead: straight through the fence, not through the log."""
        if change.place not in self._retaken:
            self._retaken[change.place] = change.size_bytes
            self._ordering.arrive(screen(self._recipe, change)[0])
            self._wake.set()

    def holds(self, partition: int) -> bool:
        """Tell whether a partition is this worker's."""
        return self._frontier.has([partition])

    @property
    def takes_more(self) -> bool:
        """Whether there is room for more to retake. It is apart from that for new changes, which are always there."""
        limits = self._limits
        return (
            len(self._retaken) < limits.retaken_records
            and sum(self._retaken.values()) < limits.waiting_bytes // _RETAKEN_SHARE
        )

    # --- what to begin

    def _begin(self) -> None:
        ending = self._stopping or self.too_many_rejected is not None
        if self._leaving and not (self._running["work"] or self._running["removal"] or self._owes()):
            self._lose(self._leaving)
        if not ending and self._running["poll"] == 0 and not self._leaving:
            self._start("poll", self._patience.call(self._poll), self._arrived)
        while not ending and not self._leaving and self._running["work"] < self._limits.works:
            chains = self._ordering.take(self._limits.work_documents, self._limits.work_bytes)
            if not chains:
                break
            self._start("work", self._applier.settle(chains), partial(self._worked, chains))
        if self._running["settle"] == 0 and self._owes():
            self._begin_settling()

    def _begin_settling(self) -> None:
        prefix = {partition: offset for partition, (offset, _) in self._frontier.settled().items()}
        owed = self._positions.owed()
        if self._running["work"] or self._running["removal"]:
            # An apply is on its way that carries the positions: no need for one of their own.
            prefix, owed = self._positions.covered(prefix), []
        if self._receipts or prefix:
            # Taken together: no offset is committed without the receipts of what lies before it.
            receipts, self._receipts = self._receipts, []
            self._start("settle", self._settle(receipts, owed, prefix), lambda _: None)

    async def _poll(self) -> Batch:
        limits = self._limits
        if self._room():
            return await self._reader.poll(limits.poll_records, limits.poll_bytes, limits.poll_wait_s)
        # Without room for records the news of the assignment are heard all the same: others wait for their share.
        return await self._reader.poll(0, 0, limits.full_wait_s)

    def _room(self) -> bool:
        return (
            self._ordering.size_bytes + self._removing_bytes < self._limits.waiting_bytes
            and self._frontier.open_count < self._limits.open_records
        )

    def _owes(self) -> bool:
        return bool(self._receipts) or self._running["settle"] > 0 or bool(self._frontier.settled())

    def _over(self) -> bool:
        if self._running["work"] or self._running["removal"] or self._owes():
            return False
        if self._stopping or self.too_many_rejected is not None:
            return True
        return self._goal is not None and not len(self._ordering) and self._frontier.reached(self._goal)

    def _start(self, kind: str, work: Coroutine[Any, Any, Any], absorb: Callable[[Any], None]) -> None:
        def done(result: object) -> None:
            if kind in self._running:
                self._running[kind] -= 1
            absorb(result)
            if kind == "wake":
                self._start("wake", self._wake.wait(), absorb)

        if kind in self._running:
            self._running[kind] += 1
        self._tasks[asyncio.ensure_future(work)] = done

    async def _abandon(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    # --- what came back

    def _arrived(self, batch: Batch) -> None:
        self._leave(batch.revoked - batch.assigned.keys())
        for partition, offset in batch.assigned.items():
            self._lose(frozenset({partition}))
            self._frontier.assign(partition, offset)
        removals: dict[str, list[Waiting]] = {}
        read_us = self._clock.now_us()
        for record in batch.records:
            change = self._decode(record)
            if not self._frontier.open(change.place, mark_of(change), read_us):
                continue
            if isinstance(change, Undecodable) and change.at_source:
                self._unreadable.add(change.place)
            change, removal = screen(self._recipe, change)
            if removal:
                assert isinstance(change, Change)
                removals.setdefault(change.id, []).extend((change, *self._ordering.overtake(change)))
            else:
                self._ordering.arrive(change)
        for partition, offset in batch.ends.items():
            self._frontier.skip(partition, offset)
        if removals:
            chains = [Chain(document, _newest_first(changes), removes=True) for document, changes in removals.items()]
            size_bytes = sum(change.size_bytes for chain in chains for change in chain.changes)
            self._removing_bytes += size_bytes
            self._start("removal", self._applier.settle(chains), partial(self._removed, size_bytes))

    def _leave(self, partitions: frozenset[int]) -> None:
        """These are about to be another's: begin nothing new, finish and settle what is under way, then hand over."""
        if partitions:
            self._ordering.forget(partitions, self._retaken)
            self._leaving |= partitions
            self._start(
                "drain", self._clock.sleep(self._limits.drain_s), lambda _: self._lose(self._leaving & partitions)
            )

    def _lose(self, partitions: frozenset[int]) -> None:
        self._leaving -= partitions
        self._ordering.forget(partitions, self._retaken)
        self._unreadable = {place for place in self._unreadable if place.partition not in partitions}
        for partition in partitions:
            self._frontier.revoke(partition)
            self._positions.forget(partition)

    def _removed(self, size_bytes: int, receipts: Sequence[Receipt]) -> None:
        self._removing_bytes -= size_bytes
        self._note(receipts)

    def _worked(self, chains: Sequence[Chain], receipts: Sequence[Receipt]) -> None:
        for chain in chains:
            self._ordering.finish(chain.id)
        self._note(receipts)

    def _note(self, receipts: Sequence[Receipt]) -> None:
        while self._applier.refused:
            verdict, count = self._applier.refused.popitem()
            self._emit(Event.WRITES_REFUSED, {"verdict": verdict.value, "documents": count})
        for receipt in receipts:
            retaken = receipt.place in self._retaken
            read_us = self._frontier.settle(receipt.place)
            if read_us is None and not retaken:
                continue  # the partition went to another worker meanwhile: the receipt is its to write
            dead = receipt.outcome is Outcome.DEAD
            if dead:
                fields = {"id": receipt.document, "version": str(receipt.version), "reason": receipt.reason}
                self._emit(Event.CHANGE_DEAD, fields)
            if not retaken and receipt.place not in self._unreadable:
                self._rejections.note(dead=dead)
            self._unreadable.discard(receipt.place)
            self._receipts.append((receipt, 0 if retaken else read_us or 0))

    # --- settle: the last stage, and the only one that commits

    async def _settle(
        self, receipts: Sequence[tuple[Receipt, int]], owed: Sequence[Position], prefix: Mapping[int, int]
    ) -> None:
        if owed:
            answers = await self._patience.call(lambda: self._index.apply([], owed))
            self._positions.record(owed, answers)
        usage = self._applier.usage
        settled_us = self._clock.now_us()
        settlement = Settlement(
            frontier=prefix,
            receipts=tuple(
                msgspec.structs.replace(receipt, read_us=read_us, settled_us=settled_us)
                for receipt, read_us in receipts
            ),
            usage=usage - self._usage,
        )
        try:
            await self._patience.call(lambda: self._reader.settle(settlement))
        except Lost as lost:
            self._lose(lost.partitions)
            self._let_go(noted[0].place for noted in receipts if noted[0].place.partition in lost.partitions)
            self._receipts += [noted for noted in receipts if noted[0].place.partition not in lost.partitions]
            return
        self._usage = usage
        self._let_go(receipt.place for receipt, _ in receipts)
        self._frontier.commit(settlement.frontier)
        self._emit(Event.CHANGES_SETTLED, _told([receipt for receipt, _ in receipts], settlement.usage))

    def _let_go(self, places: Iterable[Place]) -> None:
        """These may be retaken again. Before their receipts are in the log, their letters still ask for it."""
        if self._retaken:
            for place in places:
                self._retaken.pop(place, None)


#: What a search finds after its change: what took away or did nothing has no freshness.
_SHOWN = frozenset({Outcome.INDEXED, Outcome.PAYLOAD_ONLY, Outcome.DELETED})


def _told(receipts: Sequence[Receipt], usage: Usage) -> dict[str, Any]:
    """Say what was settled: the outcomes, the tokens, and how old each change was when a search could find it."""
    return {
        "changes": len(receipts),
        "tokens": usage.tokens,
        "batch_tokens": usage.batch_tokens,
        "outcomes": Counter(receipt.outcome.value for receipt in receipts),
        "freshness_s": [
            (it.applied_us - it.changed_us) / 1e6
            for it in receipts
            if it.outcome in _SHOWN and it.applied_us and it.changed_us
        ],
    }


def _newest_first(changes: Sequence[Waiting]) -> tuple[Waiting, ...]:
    return tuple(sorted(changes, key=cmp_to_key(_newer_first)))


def _newer_first(left: Waiting, right: Waiting) -> int:
    return compare(right.version, left.version)
