"""PURE: text files, which need no parser and no process."""

from __future__ import annotations

from pathlib import PurePosixPath

from headwater.documents import kinds
from headwater.documents.port import Extracted

_MARKDOWN = "text/markdown"
#: Content cannot tell these apart: only the name says what a text is written for.
_TYPES = {
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


def plain(name: str, data: bytes) -> Extracted | None:
    """Return a text file as it stands; None for what a reader must look at: no UTF-8, or the code of a page."""
    if b"\0" in data or kinds.is_pdf(data) or kinds.refused(data):
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if kinds.is_html(text[: kinds.HEAD], name) else of_text(name, text)


def of_text(name: str, text: str) -> Extracted:
    """Return a text under the type that its name gives it."""
    kind = _TYPES.get(PurePosixPath(name).suffix.lower(), "text/plain")
    return Extracted(text, "markdown" if kind == _MARKDOWN else "text", kind)
