"""A trial: what a recipe makes of one text, step by step, for a person to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from headwater.errors import Reject
from headwater.model.change import Change, Op, check_id, digest_value
from headwater.model.document import Piece, Recipe
from headwater.model.version import Place, Version
from headwater.recipe.options import Format
from headwater.recipe.redact.redactor import Finding, Redactor


class Gone(NamedTuple):
    """What was redacted, and where it stood in the text as it was: lines and columns from 1. Never what."""

    kind: str
    start: int
    end: int
    line: int
    column: int


class Cut(NamedTuple):
    """A chunk: its own text `[start, end)`, and what the model reads before it. `tokens` are those of all three."""

    text: str
    context: str
    overlap: str
    start: int
    end: int
    tokens: int | None


class Trial(msgspec.Struct, frozen=True):
    """All that a recipe makes of a document. `rejected` is why it makes nothing of it, `filtered` that the filter did.

    `text` is what is left after redaction, to which the places of chunks refer.
    """

    id: str
    type: str | None = None
    format: Format | None = None
    text: str = ""
    rules: str = ""
    redacted: tuple[Gone, ...] = ()
    rejected: str | None = None
    filtered: bool = False
    chunks: tuple[Cut, ...] = ()
    payload: dict[str, Any] = {}


def attempt(
    document: str,
    body: Mapping[str, Any],
    form: Format,
    recipe: Recipe,
    redactor: Redactor | None,
    count: Callable[[str], int] | None,
) -> Trial:
    """Put a body through a recipe. `form` is how its text is written; `count` tells the tokens of one, where known."""
    text = body["text"]
    gone = redactor.find(text) if redactor else []
    # Twice, as on the way into the log and out of it: what a placeholder stands beside may be found only then.
    cleaned = redactor.value(redactor.value(dict(body))) if redactor else body
    left = cleaned["text"]
    trial = Trial(
        id=redactor.text(document) if redactor else document,
        type=body.get("type"),
        format=form,
        text=left,
        rules=redactor.name if redactor else "",
        redacted=tuple(_places(text, gone)),
    )
    problem = check_id(document)
    if problem is None and trial.id != document:
        problem = "its id holds what the recipe takes out, and an id is not redacted"
    if problem:
        return msgspec.structs.replace(trial, rejected=problem)
    change = _change(document, dict(cleaned))
    try:
        if not recipe.passes(change):
            return msgspec.structs.replace(trial, filtered=True)
        derived = recipe.derive(change)
    except Reject as error:
        return msgspec.structs.replace(trial, rejected=error.reason)
    chunks = tuple(_cut(piece, count) for piece in derived.pieces)
    return msgspec.structs.replace(trial, chunks=chunks, payload=derived.payload)


def _cut(piece: Piece, count: Callable[[str], int] | None) -> Cut:
    context = piece.skip - piece.overlap
    return Cut(
        piece.text[piece.skip :],
        piece.text[:context],
        piece.text[context : piece.skip],
        piece.start,
        piece.end,
        count(piece.text) if count else None,
    )


def _places(text: str, found: list[Finding]) -> list[Gone]:
    places = []
    line, begin, at = 1, 0, 0
    for it in found:
        line += text.count("\n", at, it.start)
        begin = max(begin, text.rfind("\n", at, it.start) + 1)
        at = it.start
        places.append(Gone(it.kind, it.start, it.end, line, it.start - begin + 1))
    return places


def _change(document: str, body: dict[str, Any]) -> Change:
    return Change(
        id=document,
        op=Op.UPSERT,
        version=Version(0, 0, 0, 0),
        place=Place(0, 0),
        body=body,
        digest=digest_value(body),
        time_us=0,
        appended_us=0,
        size_bytes=len(body["text"]),
    )
