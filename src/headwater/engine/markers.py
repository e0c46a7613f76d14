"""PURE: whether delete markers of a compacted log may have gone before they were read (schedule C4).

Compaction keeps a marker for the topic's `delete.retention.ms` from when it was written. So whoever has read all that a
partition held at some moment misses no marker for that long from then on, wherever it stands; after that it must have
read all of a later moment. Times are this machine's, never those of the records: a record may bear any time.
"""

from __future__ import annotations

from headwater.errors import Halt
from headwater.model.generation import Generation
from headwater.model.receipt import CaughtUp

MARKER_CURE = (
    "Documents that were deleted meanwhile may still be in the index: build a new index from the log (move this one "
    "away and start again). Raise delete.retention.ms if that takes longer"
)


class Trail:
    """How current a place is that moves through one partition: what it has reached, and as of when that was all."""

    def __init__(self, offset: int, caught: CaughtUp) -> None:
        self.offset = offset
        self.caught = caught
        self._ahead: CaughtUp | None = None

    def __repr__(self) -> str:
        return f"Trail({self.offset}, {self.caught})"

    def renew(self, now_us: int) -> None:
        """Note that nothing was compacted up to now: no marker is missed, wherever it stands."""
        self.caught, self._ahead = CaughtUp(now_us, 0), None

    def look(self, now_us: int, end: int) -> None:
        """Note where the partition ends now. An earlier end that was not reached yet stays the next to be reached."""
        if self._ahead is None:
            self._ahead = CaughtUp(now_us, end)
        self.move(self.offset)

    def move(self, offset: int) -> None:
        """Note that everything before an offset was reached."""
        self.caught = self.after(offset)
        self.offset = max(offset, self.offset)
        if self._ahead is self.caught:
            self._ahead = None

    def after(self, offset: int) -> CaughtUp:
        """Return how current the place is once it has moved there."""
        ahead = self._ahead
        return ahead if ahead is not None and max(offset, self.offset) >= ahead.offset else self.caught


def since_made(generation: Generation | None, now_us: int, life_s: float) -> CaughtUp | None:
    """Return how current an index is of which nothing was written down: one that is younger than a marker's life has
    missed none, for what it read, it read since. So a worker may die before its first note. None: nothing tells.
    """
    made_us = generation.created_us if generation else now_us
    return CaughtUp(made_us, 0) if now_us - made_us <= life_s * 1e6 else None


def resumed(partition: int, stood: int | None, known: CaughtUp | None, end: int, now_us: int) -> CaughtUp:
    """Return how current an index is that takes up a partition at `stood`; None: it has nothing of it yet.

    `known` is what was last written down. Raise Halt when nothing tells how long ago the index stood there.
    """
    if stood is None:
        return CaughtUp(now_us, 0)  # a pass over all that the log holds begins
    if stood >= end:
        return CaughtUp(now_us, end)
    if known is None or stood < known.offset:
        detail = (
            f"the index stands at offset {stood} of partition {partition} and the log ends at {end}; nothing tells "
            "whether delete markers between have expired (a restored backup, or the group's offsets were reset)"
        )
        raise Halt("missed-delete-marker", detail, MARKER_CURE)
    return known


def check(partition: int, offset: int, caught: CaughtUp, now_us: int, life_s: float) -> None:
    """Raise Halt when markers at this offset of a partition, or behind it, may have expired before they were read."""
    age_s = (now_us - caught.at_us) / 1e6
    if age_s > life_s:
        detail = (
            f"it is {_rough(age_s)} since partition {partition} was read to its end, or begun with; the topic keeps "
            f"delete markers for {_rough(life_s)} (delete.retention.ms), so from offset {offset} on some may have "
            "expired unread"
        )
        raise Halt("missed-delete-marker", detail, MARKER_CURE)


def _rough(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 7200 else f"{seconds / 3600:.1f} h"
