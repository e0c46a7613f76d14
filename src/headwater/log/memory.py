"""The log in memory: for tests, the simulation and trying things out. Nothing outlives the process.

One `MemoryLog` is the log; readers, writers and the rest are views of it. Several readers may share a group: who has
which partition is told by `assign`, and a reader learns of it by its next poll.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from headwater.clock import Clock, Ids
from headwater.errors import Halt, Lost, Misconfigured
from headwater.log.port import Batch, SourcePosition, Totals, Watermarks
from headwater.log.rules import FRESH, closes, first_day, moved, partition_of, take_turns
from headwater.model.change import Outgoing, Record
from headwater.model.manifest import Outcome
from headwater.model.receipt import CaughtUp, DeadLetter, DeadState, Receipt, Settlement, Usage, day_of
from headwater.model.registry import StreamState
from headwater.model.version import Version

#: How often a waiting poll looks again.
STEP_S = 0.02


class _Partition:
    """One partition's records, in order. Offsets may have gaps."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.offsets: list[int] = []
        self.low = 0
        self.high = 0

    def add(self, record: Record) -> None:
        self.records.append(record)
        self.offsets.append(record.offset)
        self.high = record.offset + 1

    def since(self, start: int) -> Iterable[Record]:
        if start < self.low:
            detail = f"offset {start} is needed, and the log begins at {self.low}"
            raise Halt("log-truncation-gap", detail, "Build a new index from the log")
        return (self.records[at] for at in range(bisect_left(self.offsets, start), len(self.records)))

    def keep(self, records: Iterable[Record]) -> None:
        """Hold these records alone; offsets stay as they are."""
        self.records = list(records)
        self.offsets = [record.offset for record in self.records]


class _Stream:
    def __init__(self, partitions: int) -> None:
        self.partitions = [_Partition() for _ in range(partitions)]
        self.groups: dict[str, _Group] = {}
        self.books: dict[int, _Books] = {}
        self.sources: dict[str, tuple[int, dict[bytes, bytes]]] = {}


class _Group:
    """A group's committed offsets, and who has which partition: the reader and the assignment's token."""

    def __init__(self) -> None:
        self.committed: dict[int, int] = {}
        self.caught: dict[int, CaughtUp] = {}
        self.owners: dict[int, tuple[MemoryReader, int]] = {}
        self.tokens = 0
        self.assigned_by_hand = False

    def give(self, partition: int, reader: MemoryReader) -> None:
        self.tokens += 1
        self.owners[partition] = (reader, self.tokens)


class _Key(NamedTuple):
    """What tells one receipt from another."""

    version: Version
    partition: int
    recipe: int
    revision: int


class _Books:
    """What was settled in one index generation."""

    def __init__(self) -> None:
        self.receipts: dict[_Key, Receipt] = {}
        self.outcomes: dict[str, int] = {}
        self.usage: dict[int, Usage] = {}  # by day
        self.dead: dict[tuple[str, Version], DeadLetter] = {}

    def enter(self, receipt: Receipt) -> bool:
        key = _Key(receipt.version, receipt.place.partition, receipt.recipe, receipt.revision)
        if key in self.receipts:
            return False
        self.receipts[key] = receipt
        self.outcomes[receipt.outcome] = self.outcomes.get(receipt.outcome, 0) + 1
        return True

    def judge(self, receipt: Receipt, generation: int, now_us: int) -> None:
        """Open or move the dead letter of the receipt's version, and close those that it overtakes."""
        for (document, version), older in self.dead.items():
            if document == receipt.document and closes(receipt.outcome, receipt.version, version):
                state = moved(older.state, Outcome.SUPERSEDED)
                self.dead[document, version] = msgspec.structs.replace(older, state=state)
        key = (receipt.document, receipt.version)
        letter = self.dead.get(key)
        if letter is not None:
            state = moved(letter.state, receipt.outcome)
            if letter.state is DeadState.RETRYING and state is DeadState.OPEN:
                letter = msgspec.structs.replace(letter, attempts=letter.attempts + 1, reason=receipt.reason)
            self.dead[key] = msgspec.structs.replace(letter, state=state)
        elif receipt.outcome is Outcome.DEAD:
            self.dead[key] = DeadLetter(
                generation=generation,
                document=receipt.document,
                version=receipt.version,
                place=receipt.place,
                reason=receipt.reason,
                state=DeadState.OPEN,
                opened_us=now_us,
            )


class MemoryLog:
    """The log itself. Everything that one of its views does is visible to all others at once."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self.clock = clock
        self.identity = ids.identity()
        self.marker_life_s: float | None = None
        self._streams: dict[str, _Stream] = {}
        self.states: dict[str, StreamState] = {}

    def __repr__(self) -> str:
        heads = {name: [part.high for part in stream.partitions] for name, stream in self._streams.items()}
        return f"MemoryLog({heads})"

    def stream(self, name: str, partitions: int) -> _Stream:
        """Return a stream, made on first use with so many partitions."""
        stream = self._streams.setdefault(name, _Stream(partitions))
        found = len(stream.partitions)
        if found != partitions:
            expected = f"{found}, as the stream was made with"
            raise Misconfigured(f"streams.{name}.partitions", expected, str(partitions), code="made-otherwise")
        return stream

    def books(self, stream: str, generation: int) -> _Books:
        """Return what was settled in one index generation of a stream that may not exist yet."""
        found = self._streams.get(stream)
        return found.books.setdefault(generation, _Books()) if found else _Books()

    def assign(self, reader: MemoryReader, partitions: Iterable[int]) -> None:
        """Give these partitions to `reader` from now on, whoever had them. All others of the group stay as they are.

        Until the first call, a group's partitions belong to the reader whose first poll came last.
        """
        reader.group.assigned_by_hand = True
        for partition in partitions:
            reader.group.give(partition, reader)

    def skip(self, stream: str, partition: int, count: int) -> None:
        """Leave a gap of so many offsets, as transaction markers and compaction do."""
        self._streams[stream].partitions[partition].high += count

    def grow(self, stream: str, partitions: int) -> None:
        """Add partitions, up to so many, as an administrator of Kafka does."""
        found = self._streams[stream].partitions
        found += [_Partition() for _ in range(partitions - len(found))]

    def trim(self, stream: str, partition: int, low: int) -> None:
        """Let go of what lies before an offset, as retention does."""
        found = self._streams[stream].partitions[partition]
        found.low = max(low, found.low)
        found.keep(record for record in found.records if record.offset >= found.low)

    def compact(self, stream: str, partition: int, *, markers: bool = False) -> None:
        """Keep the newest record of each key alone; with `markers`, of delete markers none."""
        found = self._streams[stream].partitions[partition]
        newest = {record.key: record.offset for record in found.records}
        found.keep(
            record
            for record in found.records
            if newest[record.key] == record.offset and not (markers and record.value is None)
        )

    def reader(self, stream: str, group: str, generation: int, partitions: int) -> MemoryReader:
        """Return a new reader of a group."""
        return MemoryReader(self, stream, group, generation, partitions)

    def writer(self, stream: str, partitions: int) -> MemoryWriter:
        """Return a new writer."""
        return MemoryWriter(self, stream, partitions)

    def history(self, stream: str, group: str, partitions: int) -> MemoryHistory:
        """Return a stream's history; `group` is the one whose committed offsets it tells."""
        return MemoryHistory(self, stream, group, partitions)

    def ledger(self, stream: str, generation: int) -> MemoryLedger:
        """Return what was settled in one index generation."""
        return MemoryLedger(self, stream, generation)

    def registry(self) -> MemoryRegistry:
        """Return the registry of all streams."""
        return MemoryRegistry(self)


class MemoryReader:
    """A LogReader. A zombie is one that lost a partition and has not polled since: what it settles is refused."""

    def __init__(self, log: MemoryLog, stream: str, group: str, generation: int, partitions: int) -> None:
        self._log = log
        self._name = stream
        self._generation = generation
        self._stream = log.stream(stream, partitions)
        self.group = self._stream.groups.setdefault(group, _Group())
        self._tokens: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._polled = False
        self._closed = False
        self._turn = 0

    def __repr__(self) -> str:
        return f"MemoryReader({self._name!r}, generation {self._generation}, next {self._next})"

    async def poll(self, max_records: int, max_bytes: int, wait_s: float) -> Batch:
        if not self._polled:
            self._polled = True
            self._join()
        deadline = self._log.clock.monotonic() + wait_s
        while not self._closed:
            assigned, revoked = self._learn()
            records = self._take(max_records, max_bytes)
            ends = self._ends() if max_records else {}
            left_s = deadline - self._log.clock.monotonic()
            if assigned or revoked or records or ends or left_s < 1e-6:
                return Batch(records, assigned, revoked, ends)
            await self._log.clock.sleep(min(STEP_S, left_s))
        return Batch()

    def _join(self) -> None:
        if not self.group.assigned_by_hand:
            for partition in range(len(self._stream.partitions)):
                self.group.give(partition, self)

    def _learn(self) -> tuple[dict[int, int], frozenset[int]]:
        """Compare what this reader knows with who has what now."""
        mine = {partition: token for partition, (owner, token) in self.group.owners.items() if owner is self}
        revoked = frozenset(self._tokens.keys() - mine.keys())
        assigned = {
            partition: self.group.committed.get(partition, self._stream.partitions[partition].low)
            for partition, token in mine.items()
            if self._tokens.get(partition) != token
        }
        self._tokens = mine
        self._next = {partition: at for partition, at in self._next.items() if partition in mine} | assigned
        return assigned, revoked

    def _take(self, max_records: int, max_bytes: int) -> list[Record]:
        wanted = sorted(self._next)
        if not wanted:
            return []
        self._turn = (self._turn + 1) % len(wanted)

        def fetch(partition: int, limit: int) -> Iterable[Record]:
            return islice(self._stream.partitions[partition].since(self._next[partition]), limit)

        records = take_turns(wanted[self._turn :] + wanted[: self._turn], fetch, max_records, max_bytes)
        for record in records:
            self._next[record.partition] = record.offset + 1
        return records

    def _ends(self) -> dict[int, int]:
        """Return the gaps at the end of partitions: nothing of theirs is to come, and the head lies further on."""
        found = {}
        for number, at in self._next.items():
            partition = self._stream.partitions[number]
            if at < partition.high and next(iter(partition.since(at)), None) is None:
                found[number] = self._next[number] = partition.high
        return found

    async def settle(self, settlement: Settlement) -> None:
        if lost := frozenset(part for part in settlement.frontier if not self._holds(part)):
            raise Lost(lost)
        books = self._stream.books.setdefault(self._generation, _Books())
        fresh = [books.enter(receipt) for receipt in settlement.receipts]
        # A settlement whose receipts are all known is a repeat: what it cost was counted the first time.
        now_us = self._log.clock.now_us()
        if any(fresh) or not fresh:
            books.usage[day_of(now_us)] = books.usage.get(day_of(now_us), Usage()) + settlement.usage
        for receipt in settlement.receipts:
            books.judge(receipt, self._generation, now_us)
        for partition, offset in settlement.frontier.items():
            self.group.committed[partition] = max(offset, self.group.committed.get(partition, 0))
        self.group.caught.update(settlement.caught)

    def _holds(self, partition: int) -> bool:
        owner, token = self.group.owners.get(partition, (None, 0))
        return owner is self and self._tokens.get(partition) == token

    async def close(self) -> None:
        self._closed = True
        for partition, (owner, _) in list(self.group.owners.items()):
            if owner is self:
                del self.group.owners[partition]


class MemoryWriter:
    """A LogWriter."""

    def __init__(self, log: MemoryLog, stream: str, partitions: int) -> None:
        self._log = log
        self._stream = log.stream(stream, partitions)

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        if position is not None:
            self._move(position)
        now_us = self._log.clock.now_us()
        for change in changes:
            number = partition_of(change.key, len(self._stream.partitions))
            partition = self._stream.partitions[number]
            partition.add(Record(number, partition.high, change.key, change.value, now_us, change.headers))

    def _move(self, position: SourcePosition) -> None:
        serial, entries = self._stream.sources.get(position.source, (0, {}))
        if serial != position.serial:
            raise Halt(
                "snapshot-race",
                f"source {position.source} stands at {serial}, not at {position.serial}",
                "Another instance of this source is at work: stop one of them",
            )
        merged = {**entries, **position.entries}
        kept = {key: value for key, value in merged.items() if value is not None}
        self._stream.sources[position.source] = (serial + 1, kept)

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        serial, entries = self._stream.sources.get(source, (0, {}))
        return serial, dict(entries)

    async def close(self) -> None:
        return


class MemoryHistory:
    """A LogHistory."""

    def __init__(self, log: MemoryLog, stream: str, group: str, partitions: int) -> None:
        self._log = log
        self._stream = log.stream(stream, partitions)
        self._group = group

    async def identity(self) -> str:
        return self._log.identity

    async def watermarks(self) -> dict[int, Watermarks]:
        group = self._stream.groups.get(self._group)
        committed, caught = (group.committed, group.caught) if group else ({}, {})
        return {
            number: Watermarks(partition.low, partition.high, committed.get(number, partition.low), caught.get(number))
            for number, partition in enumerate(self._stream.partitions)
        }

    async def marker_life_s(self) -> float | None:
        return self._log.marker_life_s

    async def read(self, partition: int, start: int, end: int) -> AsyncIterator[Record]:
        found = self._stream.partitions[partition]
        start = max(start, found.low)
        while (record := next(iter(found.since(start)), None)) and record.offset < end:
            yield record
            start = record.offset + 1

    async def close(self) -> None:
        return


class MemoryLedger:
    """A Ledger."""

    def __init__(self, log: MemoryLog, stream: str, generation: int) -> None:
        self._log = log
        self._stream = stream
        self._generation = generation

    @property
    def _books(self) -> _Books:
        return self._log.books(self._stream, self._generation)

    async def receipts(self, document: str) -> list[Receipt]:
        return [receipt for receipt in self._books.receipts.values() if receipt.document == document]

    async def freshness(self, last: int) -> list[tuple[int, int]]:
        newest = reversed(self._books.receipts.values())
        pairs = ((it.changed_us, it.applied_us) for it in newest if it.applied_us > 0 and it.outcome in FRESH)
        return list(islice(pairs, last))

    async def totals(self) -> Totals:
        books, first = self._books, first_day(self._log.clock.now_us())
        daily = {day: usage for day, usage in books.usage.items() if day >= first}
        return Totals(dict(books.outcomes), sum(books.usage.values(), start=Usage()), daily)

    async def dead(self, states: frozenset[DeadState]) -> list[DeadLetter]:
        letters = [letter for letter in self._books.dead.values() if letter.state in states]
        return sorted(letters, key=lambda it: (it.version.epoch, it.version.order, it.version.offset, it.document))

    async def move(self, document: str, version: Version, expected: DeadState, state: DeadState) -> bool:
        letter = self._books.dead.get((document, version))
        if letter is None or letter.state is not expected:
            return False
        self._books.dead[document, version] = msgspec.structs.replace(letter, state=state)
        return True

    async def close(self) -> None:
        return


class MemoryRegistry:
    """A Registry."""

    def __init__(self, log: MemoryLog) -> None:
        self._states = log.states

    async def read(self, stream: str) -> StreamState:
        return self._states.get(stream, StreamState())

    async def advance(self, stream: str, state: StreamState) -> bool:
        if self._states.get(stream, StreamState()).serial != state.serial:
            return False
        self._states[stream] = msgspec.structs.replace(state, serial=state.serial + 1)
        return True

    async def close(self) -> None:
        return
