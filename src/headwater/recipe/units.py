"""Units: what chunks are made of, with the strength of the gap before each.

A unit is a heading, a paragraph, or a part of a long paragraph. A gap's key orders gaps by structure first (before a
heading of a high level is the best place for a cut), then by a hash of the words behind it. Nothing in a key depends
on what stands far away. Nothing depends on the wording of a heading either, and for the sizes it has a fixed length,
so that an edit of it moves no cut.
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
_DEEPEST_HEADING, _DEEPEST_INDENT = 16, 20
_ANY_HEADING = (_HEADING - _DEEPEST_HEADING) << 32
#: Characters hashed. More tell more alike paragraphs apart, fewer are hit by fewer edits: 32 embedded the least.
_HASHED = 32
_HASH_BITS = 0xFFFFFFFF
_MAX_INDENT = 40


class Units:
    """The units of a text in order, as parallel columns; a row object each would cost more than the chunking itself.

    `keys[i]` is the strength of the gap before unit i. `full_*` are offsets in a text whose headings have a fixed,
    generous length, for comparing with a maximum; `bare_*` in one whose headings have none, for comparing with a
    minimum. `titles[i]` is the path of titles above unit i; that of a heading ends above it, as its own title stands in
    the unit. `headings` says which units are headings.
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
        self.headings: list[int] = []

    def __len__(self) -> int:
        return len(self.starts)

    def heads(self, at: int) -> bool:
        """Tell whether unit `at` begins a section: a heading, or a label before one."""
        return self.keys[at] >= _ANY_HEADING


def units(text: str, form: Format, limit: int, heading_length: int) -> tuple[Units, list[Heading]]:
    """Cut a text into units of at most `limit` characters; its headings come along.

    `heading_length` is the fixed length that a heading counts with.
    """
    fenced = fences(text, form)
    found = [one for one in headings(text, form, fenced) if one.end - one.start <= limit]
    made = Units()
    full = bare = 0
    _body(made, text, (0, found[0].start if found else len(text)), limit, ((), 0, 0))
    stops = [*(one.start for one in found[1:]), len(text)][: len(found)]
    places = []
    for heading, path, stop in zip(found, paths(found), stops, strict=True):
        places.append(_heading(made, text, heading, path[:-1], (full, bare)))
        length = heading.end - heading.start
        full += heading_length - length
        bare -= length
        made.full_ends.append(heading.end + full)
        made.bare_ends.append(heading.end + bare)
        _body(made, text, (heading.end, stop), limit, (path, full, bare))
    if fenced:
        _weaken(made, fenced)
    _settle(made, places, [one.level for one in found])
    made.headings += [at for _, at in places]
    return made, found


def _heading(
    made: Units, text: str, heading: Heading, above: tuple[str, ...], shift: tuple[int, int]
) -> tuple[int, int]:
    """Add a heading; say which unit leads it and which it is.

    Labels of reStructuredText right before a heading belong to it: the first of them leads.
    """
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
    made.keys[leader] = (_HEADING - min(heading.level, _DEEPEST_HEADING)) << 32
    return leader, at


def _body(made: Units, text: str, span: tuple[int, int], limit: int, under: tuple[tuple[str, ...], int, int]) -> None:
    """Add the paragraphs between two headings."""
    starts, ends = _paragraphs(text, *span)
    if not starts:
        return
    keys = [_hash(text, low, high) + (_rank(text, low) << 32) for low, high in zip(starts, ends, strict=True)]
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
        (low, high) if " " < text[low] < "\x7f" and " " < text[high - 1] < "\x7f" else _trim(text, low, high)
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


def _rank(text: str, low: int) -> int:
    """Rank the gap before a paragraph: the deeper its first line is indented, the weaker."""
    if text[low] > " ":
        return _PARAGRAPH
    line = text[low : low + _MAX_INDENT].expandtabs(4)
    return _PARAGRAPH - min(len(line) - len(line.lstrip()), _DEEPEST_INDENT)


def _hash(text: str, low: int, high: int) -> int:
    """Hash the first words of a unit, and nothing of what follows it."""
    return crc32(text[low : min(high, low + _HASHED)].encode())


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
            _hash(text, left, right) + ((_ITEM if item else _SENTENCE) << 32) for left, right, item in parts[1:]
        ]
    return new_starts, new_ends, new_keys


def _weaken(made: Units, fenced: list[Span]) -> None:
    """Lower the gaps inside fenced code."""
    at = 0
    for low, high in fenced:
        while at < len(made) and made.starts[at] <= low:
            at += 1
        while at < len(made) and made.starts[at] < high:
            made.keys[at] = (made.keys[at] & _HASH_BITS) + (_FENCED << 32)
            at += 1


def _settle(made: Units, places: list[tuple[int, int]], levels: list[int]) -> None:
    """Give each heading's gap the hash of the first paragraph under it, and glue to it what follows it directly."""
    words = 0
    below = 0
    for (leader, at), level in zip(reversed(places), reversed(levels), strict=True):
        after = at + 1
        if after < len(made):
            if made.keys[after] < _ANY_HEADING:
                words = made.keys[after] & _HASH_BITS
                made.keys[after] = words
            elif below > level:
                made.keys[after] = _GLUED
        made.keys[leader] |= words
        below = level
