"""PURE: how many tokens a text has at most, without counting them."""

from __future__ import annotations

from collections import deque

#: Tokens that a model puts around each text.
AROUND = 3
#: The bound is this much above the densest of so many calls.
MARGIN = 1.05
REMEMBERED = 64


class Estimator:
    """A bound of tokens by bytes (UTF-8), calibrated by the usage that the service reports.

    No tokenizer makes more than one token of a byte, so the bound begins there. Later it follows the densest of the
    last calls; a text of another kind may exceed it once, which is why calls near a limit are counted exactly where
    the tokenizer is known.
    """

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=REMEMBERED)
        self._densest = 1.0

    def bound(self, size: int, texts: int) -> int:
        """Return how many tokens so many texts of `size` bytes in sum have at most."""
        return int(size * self._densest) + 1 + AROUND * texts

    def worst(self, size: int, texts: int) -> int:
        """Return how many tokens they have if they are like none before."""
        return size + AROUND * texts

    def learn(self, size: int, texts: int, tokens: int) -> None:
        """Learn what the service counted for a call; 0 where it does not count."""
        if tokens <= 0 or size <= 0:
            return
        self._seen.append(max(0, tokens - AROUND * texts) / size)
        self._densest = min(1.0, max(self._seen) * MARGIN)
