"""PURE: what may be committed. Offsets are committed up to the first change that is not settled, never past it (G1)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from headwater.model.generation import Position
from headwater.model.manifest import Answer, Verdict
from headwater.model.registry import Epoch, epoch_of
from headwater.model.version import Place


class Entry(msgspec.Struct, gc=False):
    """A change that was read: its mark, when it was read, and whether it is settled."""

    offset: int
    mark: bytes
    read_us: int
    settled: bool = False


class _Partition(msgspec.Struct):
    end: int  # everything from here on was not read yet
    entries: dict[int, Entry]
    last_mark: bytes = b""


class Frontier:
    """Tracks every change between being read and being committed, for the partitions that are this worker's.

    Changes are opened in the order of their offsets; gaps between offsets are nobody's change.
    """

    def __init__(self) -> None:
        self._partitions: dict[int, _Partition] = {}
        self._committed: dict[int, int] = {}
        self._elsewhere: dict[int, int] = {}

    def __repr__(self) -> str:
        return f"Frontier({self.settled()})"

    def assign(self, partition: int, offset: int) -> None:
        """Begin with a partition at its next offset to read. What was open in it before is forgotten."""
        self._partitions[partition] = _Partition(offset, {})
        self._committed[partition] = offset

    def revoke(self, partition: int) -> None:
        """End with a partition: nothing of it is committed any more."""
        self._partitions.pop(partition, None)
        self._committed.pop(partition, None)

    def open(self, place: Place, mark: bytes, read_us: int) -> bool:
        """Note a change that was read. Tell whether it is new: a repeated delivery is not, nor is one of another's
        partition.
        """
        partition = self._partitions.get(place.partition)
        if partition is None or place.offset < partition.end:
            return False
        partition.entries[place.offset] = Entry(place.offset, mark, read_us)
        partition.end = place.offset + 1
        return True

    def skip(self, partition: int, offset: int) -> None:
        """Note that no change is to come before an offset: the gap up to there is committed with what lies before."""
        tracked = self._partitions.get(partition)
        if tracked is not None:
            tracked.end = max(tracked.end, offset)

    def settle(self, place: Place) -> int | None:
        """Note that a change is in the index, in the dead letters, or overtaken by one that is. Return when it was
        read; None: it is not open here, as it was never read, or was committed.
        """
        partition = self._partitions.get(place.partition)
        entry = partition.entries.get(place.offset) if partition else None
        if entry is None:
            return None
        entry.settled = True
        return entry.read_us

    def settled(self, also: Collection[Place] = ()) -> dict[int, tuple[int, bytes]]:
        """Return what may be committed if `also` were settled too: partition -> (next offset, mark of the change before
        it).

        Only partitions in which that is past what was committed.
        """
        assumed = frozenset(also)
        prefix: dict[int, tuple[int, bytes]] = {}
        for number, partition in self._partitions.items():
            offset, mark = partition.end, partition.last_mark
            for entry in partition.entries.values():
                if not entry.settled and Place(number, entry.offset) not in assumed:
                    offset = entry.offset
                    break
                mark = entry.mark
            if offset > self._committed[number]:
                prefix[number] = (offset, mark)
        return prefix

    def commit(self, frontier: Mapping[int, int]) -> None:
        """Note what the log has committed; forget the changes before it."""
        for number, offset in frontier.items():
            partition = self._partitions.get(number)
            if partition is None:
                continue
            for entry in [entry for entry in partition.entries.values() if entry.offset < offset]:
                partition.last_mark = entry.mark
                del partition.entries[entry.offset]
            self._committed[number] = max(self._committed[number], offset)

    def is_news(self, partition: int, offset: int) -> bool:
        """Tell whether an offset is past what was committed of a partition."""
        return partition in self._committed and offset > self._committed[partition]

    def has(self, partitions: Iterable[int]) -> bool:
        """Tell whether all of these partitions are this worker's."""
        return all(number in self._partitions for number in partitions)

    def note_elsewhere(self, committed: Mapping[int, int]) -> None:
        """Note how far the group has committed partitions, whoever has them."""
        self._elsewhere = dict(committed)

    def reached(self, goal: Mapping[int, int]) -> bool:
        """Tell whether everything before these offsets is committed, here or as far as is known elsewhere."""
        return all(
            max(self._committed.get(number, 0), self._elsewhere.get(number, 0)) >= offset
            for number, offset in goal.items()
        )

    @property
    def open_count(self) -> int:
        """How many changes are read and not committed."""
        return sum(len(partition.entries) for partition in self._partitions.values())


class Positions:
    """What the index's own row says about how far it is settled.

    It must never fall behind the log's committed offsets, or an index that was restored from a backup could not be told
    from a whole one. So every apply carries the positions that hold once its writes are in, and what is still owed
    goes before the commit.
    """

    def __init__(self, frontier: Frontier, epochs: tuple[Epoch, ...]) -> None:
        self._frontier = frontier
        self._epochs = epochs
        self._recorded: dict[int, int] = {}

    def assuming(self, places: Collection[Place]) -> list[Position]:
        """Return the positions that hold if these places are settled."""
        return [
            Position(number, epoch_of(self._epochs, Place(number, offset - 1)), offset, mark)
            for number, (offset, mark) in self._frontier.settled(places).items()
        ]

    def record(self, positions: Sequence[Position], answers: Sequence[Answer]) -> None:
        """Note what an apply wrote down: nothing, if a write of it still has to be planned again."""
        if all(answer.verdict in (Verdict.APPLIED, Verdict.STALE) for answer in answers):
            for position in positions:
                self._recorded[position.partition] = max(position.offset, self._recorded.get(position.partition, 0))

    def covered(self, prefix: Mapping[int, int]) -> dict[int, int]:
        """Return as much of a prefix that may be committed as the index has written down already."""
        within = {partition: min(offset, self._recorded.get(partition, 0)) for partition, offset in prefix.items()}
        return {number: offset for number, offset in within.items() if self._frontier.is_news(number, offset)}

    def owed(self) -> list[Position]:
        """Return the positions that may be committed and that the index has not written down."""
        return [
            position for position in self.assuming(()) if position.offset > self._recorded.get(position.partition, 0)
        ]

    def forget(self, partition: int) -> None:
        """A partition begins anew."""
        self._recorded.pop(partition, None)
