"""A text as the rules read it: digits, dashes and spaces of all scripts are plain ones, what is invisible is not there.

So `４１１１` is `4111`, and a zero-width space between two digits parts nothing.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import numpy.typing as npt

#: What nobody sees, and what is no part of a number: soft hyphen, joiners, direction marks, variation selectors.
_UNSEEN = "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\u20e3\ufe00-\ufe0f\ufeff]"
_SPACES = "[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"
_DASHES = "[\u2010-\u2015\u2212\u2e3a\u2e3b\ufe58\ufe63]"
_FULL_WIDTH = range(0xFF01, 0xFF5F)
#: No character: it marks what is left out.
_HIDDEN = 0x110000

Codes = npt.NDArray[np.uint32]


class Shadow:
    """`text` as the rules read it; `span` tells where a stretch of it lies in the original."""

    __slots__ = ("_places", "text")

    def __init__(self, original: str) -> None:
        self.text = original
        self._places: npt.NDArray[np.intp] | None = None
        if original.isascii():
            return
        codes = np.frombuffer(original.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        plain = _table()[codes]
        if (seen := plain != _HIDDEN).all():
            self.text = _text(plain)
        else:
            self.text, self._places = _text(plain[seen]), np.flatnonzero(seen)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where `[start, end)`, which is not empty, lies in the original."""
        if self._places is None:
            return start, end
        return int(self._places[start]), int(self._places[end - 1]) + 1


def _text(codes: Codes) -> str:
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _table() -> Codes:
    """What each character is read as, by its number."""
    table = np.arange(_HIDDEN, dtype=np.uint32)
    every = "".join(map(chr, range(_HIDDEN)))
    for form, plain in ((_UNSEEN, _HIDDEN), (_SPACES, ord(" ")), (_DASHES, ord("-"))):
        for found in re.finditer(form, every):
            table[found.start()] = plain
    for found in re.finditer(r"\d", every):
        table[found.start()] = ord("0") + int(found[0])
    table[list(_FULL_WIDTH)] = np.arange(ord("!"), ord("!") + len(_FULL_WIDTH), dtype=np.uint32)
    table[ord("\ufe6b")] = ord("@")
    return table
