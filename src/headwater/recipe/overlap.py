"""Overlap: how much of the text before a chunk the model is shown with it.

It depends on nothing but the characters that it may reach, so an edit changes its own chunk and those behind it that
reach back to it, and no other. It never reaches over a heading: what stands above belongs to another subject.
"""

from __future__ import annotations

from bisect import bisect_right

from headwater.recipe.sentence_ends import beginnings
from headwater.recipe.units import Units

#: Part of the `chunk` fingerprint where there is an overlap: raise it when the same text gives another one.
REVISION = 1


def overlap(text: str, made: Units, low: int, most: int) -> int:
    """Return where the text begins that goes with the chunk whose first unit is `low`: at most so many characters
    before it, at the beginning of a sentence, else of a word. The chunk's own beginning where there is none.
    """
    start = made.starts[low]
    above = bisect_right(made.headings, low)
    if made.heads(low) or (above and made.headings[above - 1] == low):
        return start
    reach = max(start - most, made.ends[made.headings[above - 1]] if above else 0)
    # One character more tells whether the first one begins a sentence or a word.
    first = next((at for at in beginnings(text, max(reach - 1, 0), start) if at >= reach), None)
    if first is not None and text[first:start].strip():
        return first
    return next((at for at in range(max(reach, 1), start) if text[at - 1].isspace() and not text[at].isspace()), start)
