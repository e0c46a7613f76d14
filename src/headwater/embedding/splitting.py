"""PURE: a text that is too long for a model, in parts, and one vector from the parts' vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def halves(text: str) -> tuple[str, str]:
    """Cut a text of two characters or more at the blank nearest to its middle, or there if none is near."""
    middle, reach = len(text) // 2, len(text) // 4
    after, before = text.find(" ", middle, middle + reach), text.rfind(" ", middle - reach, middle)
    cuts = [cut for cut in (after, before) if cut > 0]
    cut = min(cuts, key=lambda it: abs(it - middle), default=middle)
    return text[:cut], text[cut:]


def mean(parts: Sequence[tuple[str, bytes]]) -> bytes | None:
    """Return the mean of the parts' vectors, each weighed by its length and the sum brought to length 1.

    Vectors are little-endian float32. None: they cancel each other out.
    """
    vectors = np.stack([np.frombuffer(vector, "<f4") for _, vector in parts]).astype(np.float64)
    summed = np.asarray([len(text) for text, _ in parts], np.float64) @ vectors
    norm = float(np.linalg.norm(summed))
    return (summed / norm).astype("<f4").tobytes() if norm > 1e-9 else None
