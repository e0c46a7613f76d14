"""PURE: when so many changes are poison that it is no longer the changes' fault."""

from __future__ import annotations

from collections import deque

LAST = 2_000
AT_LEAST = 20
SHARE = 0.01


class Rejections:
    """Counts the dead among the last settled changes of a stream."""

    def __init__(self) -> None:
        self._last: deque[bool] = deque()
        self._dead = 0

    def note(self, *, dead: bool) -> None:
        """Count one settled change."""
        self._last.append(dead)
        self._dead += dead
        if len(self._last) > LAST:
            self._dead -= self._last.popleft()

    @property
    def too_many(self) -> str | None:
        """Say why the stream must pause, or None: at least 20 dead, and more than 1 % of the last 2,000."""
        if self._dead >= AT_LEAST and self._dead > SHARE * len(self._last):
            return f"{self._dead} of the last {len(self._last)} changes were rejected"
        return None
