"""PURE: how texts are packed into calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def pack(sizes: Sequence[int], max_texts: int, max_characters: int) -> Iterator[slice]:
    """Yield consecutive slices of at most so many texts and so many characters in sum.

    A text that is longer than `max_characters` travels alone.
    """
    start = total = 0
    for i, size in enumerate(sizes):
        if i > start and (i - start >= max_texts or total + size > max_characters):
            yield slice(start, i)
            start, total = i, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))
