"""Units: what chunks are made of, with the strength of the gap before each.

A unit is a heading, a paragraph, or a part of a long paragraph. The gap's key orders gaps by structure first (a heading of a high level
is the best place for a cut), then by a hash of the words that follow it. Nothing in a key depends on what stands far away, and nothing in
it depends on the wording of a heading: a heading counts with a fixed length too, so an edit of it moves no cut.
"""

from __future__ import annotations

import re
from itertools import repeat
from zlib import crc32

from headwater.recipe.options import Format
from headwater.recipe.sections import Heading, Span, fences, headings, paths
from headwater.recipe.sentences import take_apart

#: Part of the `chunk` fingerprint: raise it when the same text gives other units.
REVISION = 1

_BLANK = re.compile(r"\n[^\S\n]*\n(?:[^\S\n]*\n)*")
_LABEL = re.compile(r"\.\. _[^\n]+:\Z")

# Ranks of gaps. A glued gap stands between a heading and what it heads.
_HEADING, _PARAGRAPH, _FENCED, _ITEM, _SENTENCE, _GLUED = 60, 40, 16, 12, 8, 0
_ANY_HEADING = (_HEADING - 16) << 32
_KEY_WORDS = 24
_HASH = 0xFFFFFFFF
_MAX_INDENT = 40


class Units:
    """The units of a text in order, as parallel columns; a row object each would cost more than the chunking itself.

    `keys[i]` is the strength of the gap before unit i. `full_*` are offsets in a text whose headings have a generous fixed length, for
    comparing with a maximum; `bare_*` in one whose headings have none, for comparing with a minimum. `titles[i]` is the path of
    titles above unit i; for a heading it ends above it, as its title stands in the unit.
    """

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.keys: list[int] = []
        self.titles: list[tuple[str, ...]] = []
        self.full_starts: list[int] = []
        self.full_ends: list[int] = []
        self.bare_starts: list[int] = []
        self.bare_ends: list[int] = []

    def __len__(self) -> int:
        return len(self.starts)


def units(text: str, form: Format, limit: int, heading_length: int) -> tuple[Units, list[Heading]]:
    """Cut a text into units of at most `limit` characters. Returns its headings too."""
    fenced = fences(text, form)
    found = [one for one in headings(text, form, fenced) if one.end - one.start <= limit]
    made = Units()
    full = bare = 0
    _body(made, text, (0, found[0].start if found else len(text)), limit, ((), 0, 0))
    stops = [*(one.start for one in found[1:]), len(text)][: len(found)]
    places = []
    for heading, path, stop in zip(found, paths(found), stops, strict=True):
        length = heading.end - heading.start
        places.append(_heading(made, text, heading, path[:-1], (full, bare)))
        full += -length % heading_length
        bare -= length
        made.full_ends.append(heading.end + full)
        made.bare_ends.append(heading.end + bare)
        _body(made, text, (heading.end, stop), limit, (path, full, bare))
    if fenced:
        _weaken(made, fenced)
    _settle(made, places, [one.level for one in found])
    return made, found


def _heading(
    made: Units, text: str, heading: Heading, above: tuple[str, ...], shift: tuple[int, int]
) -> tuple[int, int]:
    """Add a heading; say which unit leads it and which it is. Labels of reStructuredText right before it belong to it."""
    full, bare = shift
    made.starts.append(heading.start)
    made.ends.append(heading.end)
    made.keys.append(_GLUED)
    made.titles.append(above)
    made.full_starts.append(heading.start + full)
    made.bare_starts.append(heading.start + bare)
    at = leader = len(made) - 1
    while (
        leader
        and made.keys[leader - 1] < _ANY_HEADING
        and _LABEL.match(text, made.starts[leader - 1], made.ends[leader - 1])
    ):
        leader -= 1
        made.titles[leader] = above
        made.keys[leader] = _GLUED
    made.keys[leader] = (_HEADING - min(heading.level, 16)) << 32
    return leader, at


def _body(made: Units, text: str, span: tuple[int, int], limit: int, under: tuple[tuple[str, ...], int, int]) -> None:
    """Add the paragraphs between two headings."""
    starts, ends = _paragraphs(text, *span)
    if not starts:
        return
    keys = [
        crc32(text[low : low + _KEY_WORDS].encode()) + ((_PARAGRAPH if text[low] > " " else _indented(text, low)) << 32)
        for low in starts
    ]
    if max(map(int.__sub__, ends, starts)) > limit:
        starts, ends, keys = _short(text, starts, ends, keys, limit)
    path, full, bare = under
    made.starts += starts
    made.ends += ends
    made.keys += keys
    made.titles += repeat(path, len(starts))
    made.full_starts += [at + full for at in starts]
    made.full_ends += [at + full for at in ends]
    made.bare_starts += [at + bare for at in starts]
    made.bare_ends += [at + bare for at in ends]


def _paragraphs(text: str, start: int, end: int) -> tuple[list[int], list[int]]:
    """Find the paragraphs of a stretch: their starts (with the indentation of the first line) and ends, trimmed."""
    starts, ends = [start], []
    for match in _BLANK.finditer(text, start, end):
        ends.append(match.start())
        starts.append(match.end())
    ends.append(end)
    trimmed = [
        (low, high) if text[low] > " " and text[high - 1] > " " else _trim(text, low, high)
        for low, high in zip(starts, ends, strict=True)
        if low < high
    ]
    kept = [(low, high) for low, high in trimmed if low < high]
    return [low for low, _ in kept], [high for _, high in kept]


def _trim(text: str, low: int, high: int) -> tuple[int, int]:
    """Take off the white space at both ends, but keep the indentation of the first line."""
    stretch = text[low:high]
    body = stretch.strip()
    if not body:
        return low, low
    head = len(stretch) - len(stretch.lstrip())
    line = stretch.rfind("\n", 0, head) + 1
    return low + (line if head - line <= _MAX_INDENT else head), low + head + len(body)


def _indented(text: str, low: int) -> int:
    """Rank a paragraph whose first line is indented: the deeper, the weaker the gap before it."""
    line = text[low : low + _MAX_INDENT].expandtabs(4)
    return _PARAGRAPH - min(len(line) - len(line.lstrip()), 20)


def _short(
    text: str, starts: list[int], ends: list[int], keys: list[int], limit: int
) -> tuple[list[int], list[int], list[int]]:
    """Take the long paragraphs apart."""
    new_starts, new_ends, new_keys = [], [], []
    for low, high, key in zip(starts, ends, keys, strict=True):
        if high - low <= limit:
            new_starts.append(low)
            new_ends.append(high)
            new_keys.append(key)
            continue
        parts = list(take_apart(text, low, high, limit))
        new_starts += [left for left, _, _ in parts]
        new_ends += [right for _, right, _ in parts]
        new_keys.append(key)
        new_keys += [
            crc32(text[left : left + _KEY_WORDS].encode()) + ((_ITEM if item else _SENTENCE) << 32)
            for left, _, item in parts[1:]
        ]
    return new_starts, new_ends, new_keys


def _weaken(made: Units, fenced: list[Span]) -> None:
    """Lower the gaps inside fenced code."""
    at = 0
    for low, high in fenced:
        while at < len(made) and made.starts[at] <= low:
            at += 1
        while at < len(made) and made.starts[at] < high:
            made.keys[at] = (made.keys[at] & _HASH) + (_FENCED << 32)
            at += 1


def _settle(made: Units, places: list[tuple[int, int]], levels: list[int]) -> None:
    """Give each heading's gap the hash of the first paragraph under it, and glue to it what follows it directly."""
    words = 0
    below = 0
    for (leader, at), level in zip(reversed(places), reversed(levels), strict=True):
        after = at + 1
        if after < len(made):
            if made.keys[after] < _ANY_HEADING:
                words = made.keys[after] & _HASH
                made.keys[after] = words
            elif below > level:
                made.keys[after] = _GLUED
        made.keys[leader] |= words
        below = level
