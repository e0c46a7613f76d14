"""The standard recipe: extract, chunk, overlap, enrich and pick the payload, in that order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headwater.model.change import Change
from headwater.model.document import Derived, Fingerprints, Piece
from headwater.recipe.chunk import chunk
from headwater.recipe.enrich import MAX_CONTEXT, context
from headwater.recipe.extract import extract, format_of
from headwater.recipe.fingerprint import fingerprints
from headwater.recipe.options import Chunking, Format, PayloadField
from headwater.recipe.overlap import overlap
from headwater.recipe.payload import declared_title, payload
from headwater.recipe.units import units


class StandardRecipe:
    """Implements `Recipe`. `model_fingerprint` is the embedder's own; without a `predicate` every document passes.

    A predicate comes with `predicate_name`, which identifies what it does in the `text` fingerprint. So does
    `redactor_name` for what was taken out of every change before the recipe sees it.
    """

    def __init__(  # noqa: PLR0913 (all that decides the result, each by its name)
        self,
        number: int,
        chunking: Chunking,
        payload: Mapping[str, PayloadField],
        format: Format | None,  # noqa: A002 - the word of the configuration
        model_fingerprint: str,
        *,
        predicate: Callable[[Change], bool] | None = None,
        predicate_name: str = "",
        redactor_name: str = "",
    ) -> None:
        if (predicate is None) != (not predicate_name):
            raise ValueError("a predicate and its name come together")
        self._number = number
        self._chunking = chunking
        self._fields = dict(payload)
        self._format = format
        self._predicate = predicate
        self._fingerprints = fingerprints(
            chunking, self._fields, format, model_fingerprint, predicate_name, redactor_name
        )

    def __repr__(self) -> str:
        return f"StandardRecipe({self._number}, {self._chunking!r}, format={self._format!r})"

    @property
    def number(self) -> int:
        """Counts upwards as the recipe changes."""
        return self._number

    @property
    def fingerprints(self) -> Fingerprints:
        """Digests of all that decides the result."""
        return self._fingerprints

    @property
    def longest(self) -> int:
        """The most characters of a piece, with its context."""
        return MAX_CONTEXT + self._chunking.most + self._chunking.overlap

    def passes(self, change: Change) -> bool:
        return self._predicate is None or self._predicate(change)

    def derive(self, change: Change) -> Derived:
        body = change.body or {}
        text = extract(change.body)
        least, most, overlapping = self._chunking.least, self._chunking.most, self._chunking.overlap
        made, found = units(text, format_of(change.id, body, self._format), self._chunking.unit, max(1, most // 12))
        title = declared_title(body, self._fields)
        contexts: dict[tuple[str, ...], str] = {}
        pieces = []
        for low, high in chunk(made, least, most):
            titles = made.titles[low]
            before = contexts.get(titles)
            if before is None:
                before = contexts[titles] = context(title, titles)
            start, end = made.starts[low], made.ends[high - 1]
            shared = start - overlap(text, made, low, overlapping) if overlapping else 0
            pieces.append(Piece(before + text[start - shared : end], len(before) + shared, start, end, shared))
        return Derived(tuple(pieces), payload(body, self._fields, found[0].title if found else None))
