"""A text as the rules read it: digits, dashes and spaces of all scripts are plain ones, what is invisible is not there,
and neither is the backslash before a sign that Markdown escapes.

So `４１１１` is `4111`, and a zero-width space between two digits parts nothing.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

#: What nobody sees, and what is no part of a number: controls, soft hyphen, joiners, fillers, direction marks,
#: selectors of variants, tags.
_CONTROLS = "\0-\x08\x0e-\x1f\x7f"
_UNSEEN = (
    f"[{_CONTROLS}\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20e3"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
#: The bytes that a plain text does not have.
_ODD = bytes(it for it in range(128) if re.match(f"[{_CONTROLS}\\\\]", chr(it)))
_ESCAPED = np.frombuffer(b"_@.+-", dtype=np.uint8).astype(np.uint32)
_LINES = "[\u0085\u2028\u2029]"
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
        if original.isascii() and len(original.encode().translate(None, _ODD)) == len(original):
            return
        codes = np.frombuffer(original.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        plain = _table()[codes]
        if "\\" in original:
            plain[:-1][(codes[:-1] == ord("\\")) & np.isin(codes[1:], _ESCAPED)] = _HIDDEN
        if (seen := plain != _HIDDEN).all():
            self.text = _text(plain)
        else:
            self.text, self._places = _text(plain[seen]), np.flatnonzero(seen)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where `[start, end)`, which is not empty, lies in the original."""
        if self._places is None:
            return start, end
        return int(self._places[start]), int(self._places[end - 1]) + 1


def with_marks_as_letters(text: str) -> str:
    """Return a text of the same length in which what stands on a letter, or behind it in Indic scripts, is one."""
    return text if text.isascii() else _marks().sub("a", text)


@cache
def _marks() -> re.Pattern[str]:
    # Behind these come only selectors of variants, which are gone by then.
    marks = (it for it in map(chr, range(0x300, 0x1F000)) if unicodedata.category(it)[0] == "M")
    return re.compile(f"[{''.join(marks)}]")


def _text(codes: Codes) -> str:
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


@cache
def _table() -> Codes:
    """What each character is read as, by its number."""
    table = np.arange(_HIDDEN, dtype=np.uint32)
    every = "".join(map(chr, range(_HIDDEN)))
    for form, plain in ((_UNSEEN, _HIDDEN), (_SPACES, ord(" ")), (_DASHES, ord("-")), (_LINES, ord("\n"))):
        for found in re.finditer(form, every):
            table[found.start()] = plain
    for found in re.finditer(r"\d", every):
        table[found.start()] = ord("0") + int(found[0])
    table[list(_FULL_WIDTH)] = np.arange(ord("!"), ord("!") + len(_FULL_WIDTH), dtype=np.uint32)
    table[ord("\ufe6b")] = ord("@")
    return table
