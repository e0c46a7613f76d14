"""How a provider counts tokens, and cuts a text at so many of them. Pure once made."""

from __future__ import annotations

from math import ceil
from typing import Protocol

from tokenizers import Tokenizer


class Counting(Protocol):
    """The provider's tokens, as far as it matters: their number."""

    def count(self, text: str) -> int:
        """Return the number of tokens of a text that is not empty: at least 1."""
        ...

    def cut(self, text: str, most: int) -> str:
        """Return the beginning of a text that has at most so many tokens."""
        ...


class Characters:
    """A token for every so many characters."""

    def __init__(self, per_token: float) -> None:
        self._per_token = per_token

    def count(self, text: str) -> int:
        return max(1, ceil(len(text) / self._per_token))

    def cut(self, text: str, most: int) -> str:
        return text[: int(most * self._per_token)]


class Tokenized:
    """A tokenizer's own tokens, the special ones that it puts around a text included."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer

    def count(self, text: str) -> int:
        return max(1, len(self._tokenizer.encode(text)))

    def cut(self, text: str, most: int) -> str:
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        kept = self._tokenizer.encode(text, add_special_tokens=False).offsets[: max(0, most - special)]
        return text[: max((end for _, end in kept), default=0)]
