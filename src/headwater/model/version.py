"""Versions: which of two changes of a document is the newer one. Never a wall clock."""

from __future__ import annotations

import re

import msgspec

from headwater.errors import Halt

_WRITTEN = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18}){3}")


class Place(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where a record lies in the log."""

    partition: int
    offset: int


class Version(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A change's first durable place, with the order that its source declares (0 where it declares none).

    It has no order of its own: `compare` decides which is newer, because it refuses to compare what has no order.
    """

    epoch: int
    order: int
    partition: int
    offset: int

    @property
    def place(self) -> Place:
        """Where it lies, unless it is a copy's."""
        return Place(self.partition, self.offset)

    def __str__(self) -> str:
        return f"{self.epoch}.{self.order}.{self.partition}.{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read `epoch.order.partition.offset`. Raise ValueError for anything else."""
        if not _WRITTEN.fullmatch(text):
            raise ValueError(f"{text!r} is no version: four whole numbers of at most 18 digits, with dots between")
        return cls(*map(int, text.split(".")))


#: Older than every change. The version of a manifest that knows only of a cap.
BEFORE_ALL = Version(0, 0, 0, -1)


def compare(left: Version, right: Version) -> int:
    """Return -1, 0 or 1: by log epoch, then order, then offset.

    Two partitions of one log epoch without a declared order are never compared: that halts (schedule C7).
    """
    if left.epoch != right.epoch:
        return -1 if left.epoch < right.epoch else 1
    if left.order != right.order:
        return -1 if left.order < right.order else 1
    if left.partition != right.partition:
        raise Halt(
            "identity-collision",
            f"one document has changes in partitions {left.partition} and {right.partition} of log epoch {left.epoch}",
            "Key the log by the document id, or declare the source's own order with `version:`. It also happens when "
            "a topic got partitions, to no multiple of what it had, while it was written to: then publish what is "
            "current to a new topic, and build a new index from that",
        )
    return (left.offset > right.offset) - (left.offset < right.offset)


def newer(left: Version, right: Version) -> bool:
    """Tell whether `left` is strictly newer than `right`."""
    return compare(left, right) > 0
