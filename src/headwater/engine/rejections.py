"""PURE: when so many changes are poison that it is no longer the changes' fault."""

from __future__ import annotations

from collections import deque

LAST = 2_000
AT_LEAST = 20
SHARE = 0.01


class Rejections:
    """Counts the dead among the last settled changes of a stream."""

    def __init__(self) -> None:
        self._last: deque[bool] = deque(maxlen=LAST)

    def note(self, *, dead: bool) -> None:
        """Count one settled change."""
        self._last.append(dead)

    @property
    def too_many(self) -> str | None:
        """Say why the stream must pause, or None: at least 20 dead, and more than 1 % of the last 2,000."""
        dead = sum(self._last)
        if dead >= AT_LEAST and dead > SHARE * len(self._last):
            return f"{dead} of the last {len(self._last)} changes were rejected"
        return None
