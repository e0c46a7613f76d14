"""PURE: what the records of a topic of receipts come to, added up as they come.

A receipt and a settlement's usage may come twice, and count once. Of each only a digest of 8 bytes is kept to know it
by.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from headwater.log.kafka_records import decode_receipt, decode_usage
from headwater.log.port import Totals
from headwater.model.change import Record
from headwater.model.manifest import Outcome
from headwater.model.receipt import Receipt, Usage, day_of


class Read:
    """What was read of one partition, decoded."""

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self.receipts: dict[Outcome, bytearray] = {}
        self.settlements = bytearray()
        self.usage: list[tuple[int, Usage]] = []

    def take(self, record: Record) -> None:
        """Add a record: a receipt, or what a settlement asked of the model."""
        if record.key:
            receipt = decode_receipt(record.value or b"", self._generation)
            if receipt:
                self.receipts.setdefault(receipt.outcome, bytearray()).extend(_digest(_name(receipt)))
        elif settled := decode_usage(record.value or b"", self._generation):
            self.settlements += _digest(settled.settlement)
            self.usage.append((day_of(record.time_us), settled.usage))


class Sums:
    """One index generation's sums, and how far they go in each partition."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._outcomes: dict[Outcome, _Known] = {}
        self._settlements = _Known()
        self._daily: dict[int, Usage] = {}

    def next(self, partition: int, low: int) -> int:
        """Return the first offset of a partition that was not added yet; `low` is where the partition begins."""
        return max(low, self._next.get(partition, 0))

    def add(self, partition: int, end: int, read: Read) -> None:
        """Add what was read of a partition up to `end`. What was added already does not count again."""
        self._next[partition] = end
        for outcome, digests in read.receipts.items():
            self._outcomes.setdefault(outcome, _Known()).take(digests)
        for at in self._settlements.take(read.settlements).tolist():
            day, usage = read.usage[at]
            self._daily[day] = self._daily.get(day, Usage()) + usage

    def totals(self, first: int) -> Totals:
        """Return the sums; those of single days from the day `first` on."""
        daily = {day: usage for day, usage in self._daily.items() if day >= first}
        outcomes = {str(outcome): len(known) for outcome, known in self._outcomes.items()}
        return Totals(outcomes, sum(self._daily.values(), start=Usage()), daily)


class _Known:
    """Digests, each once."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, dtype=np.uint64)

    def __len__(self) -> int:
        return len(self._sorted)

    def take(self, digests: bytearray) -> NDArray[np.intp]:
        """Add digests of 8 bytes, and return the places of those that are new."""
        found, places = np.unique(np.frombuffer(digests, dtype=np.uint64), return_index=True)
        new = ~np.isin(found, self._sorted, assume_unique=True)
        self._sorted = np.insert(self._sorted, np.searchsorted(self._sorted, found[new]), found[new])
        return places[new]


def _name(receipt: Receipt) -> str:
    return f"{receipt.version} {receipt.place.partition} {receipt.recipe} {receipt.revision}"


def _digest(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8).digest()
