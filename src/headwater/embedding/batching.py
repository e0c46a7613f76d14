"""PURE: how texts are packed into calls, and how long a batch that is not full may wait for more."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

#: A batch waits for more texts for at most this share of what a call takes, and never longer than the second figure.
LINGER_SHARE = 0.1
LONGEST_LINGER_S = 0.05

#: How much of the known gap between two arrivals, and of the known time of a call, one more of them replaces.
SMOOTHING = 0.2


class Limits(msgspec.Struct, frozen=True):
    """What one call may carry: so many texts, tokens in sum, and bytes (UTF-8) in sum."""

    texts: int
    tokens: int
    bytes: int


class Sized(Protocol):
    """A text as the packer sees it."""

    @property
    def bytes(self) -> int:
        """How many bytes the text has in UTF-8."""
        ...


class Fill:
    """One call while it is packed.

    `bound(bytes, texts)` is how many tokens so much text has at most; `count(text)` is how many one text has exactly.
    Counting is dear, so it begins only where the bound says that the next text would not fit; or at once, `exactly`.
    `riders` are inside from the beginning.
    """

    def __init__(
        self,
        limits: Limits,
        bound: Callable[[int, int], int],
        count: Callable[[Sized], int] | None = None,
        *,
        exactly: bool = False,
        riders: Sequence[Sized] = (),
    ) -> None:
        self._limits = limits
        self._bound = bound
        self._count = count
        self._inside: list[Sized] = list(riders)
        self._empty = len(riders)
        self._exact = sum(map(count, riders)) if exactly and count is not None else None
        self._bytes = sum(text.bytes for text in riders)

    @property
    def exact(self) -> bool:
        """Say whether the tokens are counted."""
        return self._exact is not None

    @property
    def tokens(self) -> int:
        """How many tokens are inside at most: counted if counting has begun, else the bound."""
        return self._bound(self._bytes, len(self._inside)) if self._exact is None else self._exact

    def add(self, text: Sized) -> bool:
        """Take the text in if it fits, else say no. The first always fits: a text over the limits travels alone."""
        texts, size = len(self._inside) + 1, self._bytes + text.bytes
        first = len(self._inside) == self._empty
        if not first and (texts > self._limits.texts or size > self._limits.bytes):
            return False
        exact = self._exact
        if exact is not None or self._bound(size, texts) > self._limits.tokens:
            exact = self._counted(text)
            tokens = self._bound(size, texts) if exact is None else exact
            if not first and tokens > self._limits.tokens:
                return False
        self._inside.append(text)
        self._bytes, self._exact = size, exact
        return True

    def _counted(self, text: Sized) -> int | None:
        if self._count is None:
            return None
        if self._exact is None:
            self._exact = sum(map(self._count, self._inside))
        return self._exact + self._count(text)


class Linger:
    """How long the texts of one lane wait for company. Time is in seconds of any monotonic clock.

    Nobody waits while none of the lane's calls is under way, so an idle stream pays nothing; nor where no further text
    is to be expected in the time, so a slow stream pays nothing either.
    """

    def __init__(self) -> None:
        self._gap_s = math.inf
        self._call_s = 0.0
        self._last_s = -math.inf

    def arrived(self, now: float) -> None:
        """Learn that a text came."""
        gap = now - self._last_s
        if math.isinf(self._gap_s):
            self._gap_s = gap
        else:
            self._gap_s += SMOOTHING * (gap - self._gap_s)
        self._last_s = now

    def answered(self, latency_s: float) -> None:
        """Learn how long a call took."""
        self._call_s += (SMOOTHING if self._call_s else 1.0) * (latency_s - self._call_s)

    def wait_s(self, since: float, under_way: int, now: float) -> float:
        """Return for how long a batch that is not full stays open: 0.0 sends it. `since` is when its first text came,
        `under_way` how many calls of the lane are being answered.
        """
        longest = min(LONGEST_LINGER_S, LINGER_SHARE * self._call_s)
        if under_way == 0 or max(self._gap_s, now - self._last_s) > longest:
            return 0.0
        return max(0.0, since + longest - now)
