"""Chunk: group units at places that the content chooses, so that an edit changes only the chunks it touches.

First a span that is longer than the maximum is cut at its strongest gap, and both sides likewise. That makes a
treap: which gaps are cut depends on their strengths alone and not on where a greedy filling happened to begin,
so an insertion or a removal shifts nothing behind it. Gaps nearer than the minimum to an end of their span are
passed over. Then neighbours that fit into one chunk are joined, across the weakest gaps first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from headwater.recipe.units import Units

#: Part of the `chunk` fingerprint: raise it when the same units give other chunks.
REVISION = 1


def chunk(made: Units, minimum: int, maximum: int) -> list[tuple[int, int]]:
    """Group units into chunks: ranges `[low, high)` of units, in order."""
    done: list[tuple[int, int]] = []
    for low, high in _join(made, _divide(made, minimum, maximum), maximum):
        if made.ends[high - 1] - made.starts[low] <= maximum:
            done.append((low, high))
        else:
            done += _fit(made, low, high, maximum)
    return done


def _divide(made: Units, minimum: int, maximum: int) -> list[int]:
    """Cut until everything is at most the maximum. Returns where the chunks begin, and the end."""
    begins: list[int] = []
    waiting = [(0, len(made))] if len(made) else []
    while waiting:
        low, high = waiting.pop()
        if high - low == 1 or made.full_ends[high - 1] - made.full_starts[low] <= maximum:
            begins.append(low)
            continue
        cut = _cut(made, low, high, minimum)
        waiting.append((cut, high))
        waiting.append((low, cut))
    return [*begins, len(made)]


def _join(made: Units, begins: list[int], maximum: int) -> list[tuple[int, int]]:
    """Join neighbours while they fit, across the weakest gaps first."""
    count = len(begins) - 1
    tops = [made.full_starts[low] for low in begins[:-1]]
    bottoms = [made.full_ends[high - 1] for high in begins[1:]]
    strengths = [made.keys[low] for low in begins[:-1]]
    # Of a joined run, its first chunk knows the last one and its last chunk the first one.
    first, last = list(range(count)), list(range(count))
    for gap in sorted(range(1, count), key=strengths.__getitem__):
        left, right = first[gap - 1], last[gap]
        if bottoms[right] - tops[left] <= maximum:
            first[right], last[left] = left, right
    joined = []
    at = 0
    while at < count:
        joined.append((begins[at], begins[last[at] + 1]))
        at = last[at] + 1
    return joined


def _fit(made: Units, low: int, high: int, maximum: int) -> list[tuple[int, int]]:
    """Cut a chunk that is over the maximum because its headings are longer than what they count for.

    It is cut under its longest heading, where it can be: was that one edited, then both parts stand under it.
    """
    if high - low == 1 or made.ends[high - 1] - made.starts[low] <= maximum:
        return [(low, high)]
    inside = made.headings[bisect_left(made.headings, low) : bisect_left(made.headings, high)]
    longest = max(inside, key=lambda at: made.ends[at] - made.starts[at], default=low)
    beyond = next((at for at in inside if at > longest), high)
    under = range(longest + 2, beyond) or range(longest + 1, beyond) or range(low + 1, high)
    cut = max(under, key=lambda at: (made.ends[at - 1] - made.starts[low] <= maximum, made.keys[at]))
    return [*_fit(made, low, cut, maximum), *_fit(made, cut, high, maximum)]


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
