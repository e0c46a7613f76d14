"""Chunk: group units at places that the content chooses, so that an edit changes only the chunks it touches.

A span that is longer than the maximum is cut at its strongest gap, and both sides likewise. That makes a treap: which gaps are cut depends
on their strengths alone and not on where a greedy filling happened to begin, so an insertion or a removal shifts nothing behind it. Gaps
nearer than the minimum to an end of their span are passed over.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from headwater.recipe.units import Units

#: Part of the `chunk` fingerprint: raise it when the same units give other chunks.
REVISION = 1


def chunk(made: Units, minimum: int, maximum: int) -> list[tuple[int, int]]:
    """Group units into chunks: ranges `[low, high)` of units, in order."""
    done: list[tuple[int, int]] = []
    waiting = [(0, len(made))] if len(made) else []
    while waiting:
        low, high = waiting.pop()
        if high - low == 1 or made.full_ends[high - 1] - made.full_starts[low] <= maximum:
            done.append((low, high))
            continue
        cut = _cut(made, low, high, minimum)
        waiting.append((cut, high))
        waiting.append((low, cut))
    return done


def _cut(made: Units, low: int, high: int, minimum: int) -> int:
    """Choose the gap at which a span is cut: the first unit behind it."""
    first, last = _allowed(made.bare_starts, made.bare_ends, low, high, minimum)
    if first > last:
        first, last = _allowed(made.full_starts, made.full_ends, low, high, minimum)
    if first > last:
        middle = (made.full_starts[low] + made.full_ends[high - 1]) // 2
        return min(max(bisect_left(made.full_starts, middle, low + 1, high), low + 1), high - 1)
    strongest = max(made.keys[first : last + 1])
    # Of equal gaps the one nearest to the middle, so that a long run of equal paragraphs takes logarithmic depth.
    middle = (first + last) // 2
    try:
        return made.keys.index(strongest, middle, last + 1)
    except ValueError:
        return made.keys.index(strongest, first, middle)


def _allowed(starts: list[int], ends: list[int], low: int, high: int, minimum: int) -> tuple[int, int]:
    """The first and the last gap of a span that leave the minimum on both sides."""
    first = bisect_left(ends, starts[low] + minimum, low, high) + 1
    last = bisect_right(starts, ends[high - 1] - minimum, low, high) - 1
    return first, last
