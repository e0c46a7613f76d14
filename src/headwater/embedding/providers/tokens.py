"""From text to token numbers, word by word, with the words remembered.

A tokenizer of the Llama kind treats the whole text as one word, which is what makes it slow. But no token of its
vocabulary holds a space mark after anything else, and none holds a line break, so no merge ever crosses those places:
cut there, the pieces give exactly the tokens of the whole, and most of them have been seen before. The constructor
checks both facts.
"""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

_SPACE = "\u2581"
_CACHED_PIECES_MAX = 1 << 18
_CACHED_PIECE_CHARACTERS = 64


class Tokens:
    """What the tokenizer would answer, without special tokens, padding or truncation."""

    def __init__(self, tokenizer_json: bytes) -> None:
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer_json)
        except Exception as error:  # the library raises bare Exception for every fault of the file
            raise ValueError("not a tokenizer") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._special = tuple(token.content for token in self._tokenizer.get_added_tokens_decoder().values())
        _check_cuts(self._tokenizer.get_vocab(with_added_tokens=False))
        self._pieces = _Pieces(self._tokenizer)

    def of(self, text: str) -> npt.NDArray[np.int32]:
        """Return the token numbers of a text. Raise UnicodeEncodeError where it holds a lone surrogate."""
        for special in self._special:
            if special in text:
                return self._whole(text)
        if not text:
            return np.empty(0, dtype=np.int32)
        return np.frombuffer(b"".join(map(self._pieces.__getitem__, _cut(text))), dtype=np.int32)

    def _whole(self, text: str) -> npt.NDArray[np.int32]:
        """Ask the tokenizer itself: a special token, written out in the text, splits it in ways of its own."""
        text.encode()  # the library's own complaint about surrogates is a TypeError
        return np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)


def _cut(text: str) -> list[str]:
    """Cut before each run of spaces and before each line break.

    A piece stands for a space mark and itself, or for itself alone when it begins with a line break. All but the first
    of a run of spaces, and a space right after a written-out mark, are turned into marks, so they stay in one piece.
    """
    if "  " in text or text[0] == " " or _SPACE in text:
        if text[0] == " ":
            text = _SPACE + text[1:]
        text = text.replace("  ", " " + _SPACE).replace(_SPACE + " ", _SPACE + _SPACE)
    return text.replace("\n", " \n").split(" ")


def _check_cuts(vocabulary: dict[str, int]) -> None:
    """Refuse a vocabulary in which a token could reach across a cut."""
    for token in vocabulary:
        if "\n" in token or _SPACE in token.lstrip(_SPACE):
            raise ValueError(f"the token {token!r} reaches across words")


class _Pieces(dict[str, bytes]):
    """Piece -> its token numbers as bytes of int32; forgets all when full, which costs time and changes nothing."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._model = tokenizer.model

    def __missing__(self, piece: str) -> bytes:
        piece.encode()
        written = piece if piece.startswith("\n") else _SPACE + piece
        ids = array("i", [token.id for token in self._model.tokenize(written)]).tobytes()
        if len(piece) <= _CACHED_PIECE_CHARACTERS:
            if len(self) >= _CACHED_PIECES_MAX:
                self.clear()
            self[piece] = ids
        return ids
