"""Extract: from a change's body to the text that is embedded, and the format it is written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from headwater.errors import Reject
from headwater.recipe.options import Format

#: Part of the `text` fingerprint: raise it when the same body gives another text.
REVISION = 1
#: Part of the `chunk` fingerprint: raise it when the same document has another format.
FORMAT_REVISION = 1

FIELD = "text"
FORMAT = "format"
_FORMATS: tuple[Format, ...] = get_args(Format)
MAX_TEXT_BYTES = 32 * 1024 * 1024
_MARKDOWN_SUFFIXES = (".md", ".markdown")


def extract(body: Mapping[str, Any] | None) -> str:
    """Take the text out of a body, exactly as it stands. Reasons for rejection never quote it."""
    if body is None or FIELD not in body:
        raise Reject(f"the body has no field `{FIELD}`")
    text = body[FIELD]
    if not isinstance(text, str):
        raise Reject(f"the field `{FIELD}` is {_kind(text)}, expected a string")
    if len(text) * 4 > MAX_TEXT_BYTES or not text.isascii():
        _check_encoding(text)
    return text


def format_of(document_id: str, body: Mapping[str, Any], declared: Format | None) -> Format:
    """Tell the format: the declared one, else what the body says, else by the id's suffix, else plain text.

    A PDF becomes Markdown, so what its id ends with says nothing of the text.
    """
    if declared is not None:
        return declared
    said = next((it for it in _FORMATS if it == body.get(FORMAT)), None)
    if said is not None:
        return said
    return "markdown" if document_id.lower().endswith(_MARKDOWN_SUFFIXES) else "text"


def _check_encoding(text: str) -> None:
    """Reject what UTF-8 cannot hold, and what is too long in it."""
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise Reject(f"the field `{FIELD}` holds a lone surrogate at character {error.start}") from None
    if size > MAX_TEXT_BYTES:
        raise Reject(f"the field `{FIELD}` is {size} bytes of UTF-8, at most {MAX_TEXT_BYTES} are allowed")


def _kind(value: object) -> str:
    """Name a JSON value's type in the words of JSON."""
    names = {
        type(None): "null",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), f"a {type(value).__name__}")
