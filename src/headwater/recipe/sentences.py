"""Sentences: take a long paragraph apart, into items, sentences, clauses, and where there are none, words and grapheme
clusters. Which sign ends a sentence is decided in `sentence_ends`.

Every cut is chosen from the characters around it, so an edit moves only the cuts beside it, in a line of ten megabytes
too. `semantic-text-splitter` gets what has no end of a sentence within the limit: it fills greedily, which would shift
cuts far away, and needs quadratic time for many words, so it gets no more than a few thousand characters at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
from semantic_text_splitter import TextSplitter

from headwater.recipe.sentence_ends import beginnings

#: Part of the `chunk` fingerprint: raise it when the same paragraph gives other units.
REVISION = 2

_ITEM = re.compile(r"\n(?=[ \t]*(?:[-*+•#|]|\w{1,3}[.)]|\.\.|:\w)[ \t:])")
#: What parts a sentence that is too long to stay whole.
_CLAUSE = re.compile(
    r"(?<=[.!?:;,…؟؛،।])[\"'”’»)\]*`_]{0,3}\s+|(?<=[。！？；：，、])|(?<=[\u0e01-\u0e5b]) +(?=[\u0e01-\u0e5b])"
)
_NEWLINE, _SPACE = 10, 32
# One in so many ends of lines, spaces, characters is the end of a window.
_OF_LINES, _OF_SPACES, _OF_ALL = 4, 32, 128
_JOINERS = re.compile(r"[\u0300-\u036f\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\n]")


def take_apart(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int, bool]]:
    """Yield units `(start, end, item)` of at most `limit` characters, without white space at their edges.

    `item` marks the first unit of a list item or the like.
    """
    for item_start, item_end in _cut(text, start, end, _ITEM):
        first = True
        for low, high in _small(text, item_start, item_end, limit):
            body = text[low:high].lstrip()
            begin, size = high - len(body), len(body.rstrip())
            if size:
                yield begin, begin + size, first
                first = False


def _small(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """Cut at the ends of sentences; what is still too long at those of clauses, by windows, then by the splitter."""
    for low, high in _between(beginnings(text, start, end), start, end):
        if high - low <= limit:
            yield low, high
            continue
        for first, last in _cut(text, low, high, _CLAUSE):
            if last - first <= limit:
                yield first, last
                continue
            for left, right in _windows(text, first, last, limit):
                if right - left <= limit:
                    yield left, right
                else:
                    yield from _split(text, left, right, limit)


def _cut(text: str, start: int, end: int, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Cut behind every match."""
    return _between((match.end() for match in pattern.finditer(text, start, end)), start, end)


def _between(cuts: Iterable[int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what lies between the cuts."""
    for cut in cuts:
        if start < cut < end:
            yield start, cut
            start = cut
    yield start, end


def _windows(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """Cut a stretch without ends of sentences where a hash of the last four characters says so.

    At the ends of lines if there are any, else at spaces, else anywhere. A window is at most four times the limit, so
    that the splitter, whose time is quadratic in the words of a sentence, gets little at once.
    """
    codes = np.frombuffer(text[start:end].encode("utf-32-le"), dtype=np.uint32)
    hashes = codes.copy()
    for back in (1, 2, 3):
        hashes[back:] = hashes[back:] * np.uint32(0x9E3779B1) + codes[:-back]
    hashes = (hashes * np.uint32(0x85EBCA6B)) >> np.uint32(12)
    lines, spaces = codes == _NEWLINE, codes == _SPACE
    apart, rarity = (lines, _OF_LINES) if lines.any() else (spaces, _OF_SPACES)
    preferred = np.flatnonzero((apart & (hashes % np.uint32(rarity) == 0))[:-1]) + 1
    anywhere = np.flatnonzero(hashes[:-1] % np.uint32(_OF_ALL) == 0) + 1
    for low, high in pairwise([0, *preferred.tolist(), end - start]):
        if high - low <= 4 * limit:
            yield start + low, start + high
            continue
        near = anywhere[np.searchsorted(anywhere, low + 1) : np.searchsorted(anywhere, high)].tolist()
        yield from _hard(text, start + low, [start + cut for cut in near], start + high, 4 * limit)


def _hard(text: str, start: int, cuts: list[int], end: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut at the given places, never between a character and its marks, and by force where these are too far apart."""
    for cut in (*cuts, end):
        while cut - start > most:
            yield start, start + most
            start += most
        if cut == end or (cut > start and not _JOINERS.search(text, cut - 1, cut + 1)):
            yield start, cut
            start = cut


def _split(text: str, start: int, end: int, limit: int) -> Iterator[tuple[int, int]]:
    """Let the splitter find words, or grapheme clusters in a word that is too long."""
    for offset, piece in _splitter(limit).chunk_indices(text[start:end]):
        yield start + offset, start + offset + len(piece)


@lru_cache(maxsize=8)
def _splitter(limit: int) -> TextSplitter:
    """The splitter for a limit. It trims nothing: what it returns joins up to what it was given."""
    return TextSplitter((max(1, limit // 2), limit), trim=False)
