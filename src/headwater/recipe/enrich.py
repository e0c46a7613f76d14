"""Enrich: the context given to the model before a piece, so that it knows what the piece is about."""

from __future__ import annotations

#: Part of the `chunk` fingerprint: raise it when the same piece gets another context.
REVISION = 1

MAX_CONTEXT = 200
_BETWEEN, _AFTER = " > ", "\n\n"


def context(title: str | None, titles: tuple[str, ...]) -> str:
    """Join the document's title and the titles above a piece; empty when there are none.

    At most `MAX_CONTEXT` characters: of what does not fit, the elements in the middle are left out first, as the first
    one names the document and the last one the nearest subject.
    """
    path = list(titles)
    if title and (not path or path[0] != title):
        path.insert(0, title)
    while path and len(_BETWEEN.join(path)) + len(_AFTER) > MAX_CONTEXT:
        del path[-2 if len(path) > 2 else -1]
    return _BETWEEN.join(path) + _AFTER if path else ""
