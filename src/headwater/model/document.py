"""What a recipe makes of a document: pieces of its text for the model, and the payload that travels with them."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from headwater.model.change import Change


class Piece(msgspec.Struct, frozen=True, gc=False):
    """One chunk to be.

    `text` is exactly what the model is given. Its first `skip` characters are what enriching added; the rest is the
    document's own: `text[skip:] == extracted[start:end]`, offsets in characters of the extracted text. Of what was
    added, the last `overlap` characters are those right before `start`: they belong to another piece, and are read but
    not shown with this one.
    """

    text: str
    skip: int
    start: int
    end: int
    overlap: int = 0


class Derived(msgspec.Struct, frozen=True, gc=False):
    """All that a recipe makes of one body. A document without text is live and has no pieces."""

    pieces: tuple[Piece, ...]
    payload: dict[str, Any]


class Fingerprints(msgspec.Struct, frozen=True, gc=False):
    """Digests of a recipe's parts, in hexadecimal. They say what a change of recipe costs.

    `text`: filter, redaction, extraction. `chunk`: chunking, enriching. `model`: provider, model, revision, dimensions,
    prefix, normalisation. `payload`: metadata, access.
    """

    text: str
    chunk: str
    model: str
    payload: str


class Recipe(Protocol):
    """How a document becomes chunks and payload. Pure: the same change gives the same answer, on every machine.

    `number` counts upwards as the recipe changes; no piece's text has more than `longest` characters.
    """

    @property
    def number(self) -> int: ...

    @property
    def fingerprints(self) -> Fingerprints: ...

    @property
    def longest(self) -> int: ...

    def passes(self, change: Change) -> bool:
        """Tell whether the document belongs into the index. One that no longer passes is removed."""
        ...

    def derive(self, change: Change) -> Derived:
        """Make pieces and payload of an upsert. Raise Reject with the reason when its body cannot be used."""
        ...
