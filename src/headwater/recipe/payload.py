"""Payload: what of a body travels with the pieces into the index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.errors import Reject
from headwater.recipe.options import PayloadField

#: Part of the `payload` fingerprint: raise it when the same body gives another payload.
REVISION = 1

TITLE = "title"
_MISSING = object()


def payload(body: Mapping[str, Any], fields: Mapping[str, PayloadField], first_heading: str | None) -> dict[str, Any]:
    """Pick the fields. One that is missing is left out, or rejects the change when it is required.

    `title` falls back to the text's first heading.
    """
    picked: dict[str, Any] = {}
    for name, field in fields.items():
        value = lookup(body, field.path)
        if value is _MISSING and name == TITLE and first_heading is not None:
            value = first_heading
        if value is not _MISSING:
            picked[name] = _json(value, name)
        elif field.required:
            raise Reject(f"the body has no field `{field.path}`, which the payload field `{name}` requires")
    return picked


def declared_title(body: Mapping[str, Any], fields: Mapping[str, PayloadField]) -> str | None:
    """The document's title as its body states it, on one line."""
    field = fields.get(TITLE)
    value = lookup(body, field.path) if field else None
    return " ".join(value.split()) or None if isinstance(value, str) else None


def lookup(body: Mapping[str, Any], path: str) -> Any:
    """Follow a dotted path. A key that holds the dots itself comes first."""
    if path in body:
        return body[path]
    value: Any = body
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _json(value: Any, name: str) -> Any:
    """Return the value when JSON can hold it."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if value - value != 0:
            raise Reject(f"the payload field `{name}` holds a number that JSON cannot hold")
        return value
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise Reject(f"the payload field `{name}` holds a lone surrogate")
        return value
    if isinstance(value, list | tuple):
        return [_json(one, name) for one in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {_json(key, name): _json(one, name) for key, one in value.items()}
    raise Reject(f"the payload field `{name}` holds a {type(value).__name__}, which JSON cannot hold")
