"""PURE: from the fields of a decoded record to what a change needs: its document id, order, time and text.

Reasons name paths, which the configuration holds, and never quote what stands there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from headwater.errors import Reject
from headwater.log.codecs.json import parse_time
from headwater.model.change import check_id

MISSING: Final = object()

MAX_ORDER_DIGITS = 18

#: Between the texts of two fields: a blank line, where every chunker may cut.
SEPARATOR = "\n\n"

#: Numbers below the bound are seconds, milliseconds, microseconds or nanoseconds since 1970: from 1973 to 5138 no two
#: of these readings are possible.
_UNITS = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
_LAST = 10**20


class Path:
    """A dotted path into objects. A field whose name holds the dots itself comes first."""

    __slots__ = ("_keys", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._keys = text.split(".")

    def __repr__(self) -> str:
        return f"Path({self.text!r})"

    def find(self, value: object) -> Any:
        """Return what stands there, or MISSING."""
        if not isinstance(value, dict):
            return MISSING
        found = value.get(self.text, MISSING)
        if found is not MISSING or len(self._keys) == 1:
            return found
        found = value
        for key in self._keys:
            if not isinstance(found, dict):
                return MISSING
            found = found.get(key, MISSING)
        return found


def kind_of(value: object) -> str:
    """Name a JSON value's type in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "a text" if isinstance(value, str) else "an array" if isinstance(value, list) else "an object"


def id_of(value: object, place: str) -> str:
    """Make a document id of a value. Raise Reject when it can be none. `place` is what the reason calls it.

    Texts are ids as they are, everything else as JSON. So two values of one type never become one id.
    """
    if value is MISSING or value is None:
        raise Reject(f"{place} is {'missing' if value is MISSING else 'null'}, so the record names no document")
    if isinstance(value, float) and not math.isfinite(value):
        raise Reject(f"{place} is a number that is none")
    document = value if isinstance(value, str) else msgspec.json.encode(value, order="deterministic").decode()
    if problem := check_id(document):
        raise Reject(f"{place}: {problem}")
    return document


def id_of_key(key: object) -> str:
    """Make a document id of a whole key: the value of its only column, or all columns as JSON, sorted by name."""
    if isinstance(key, dict):
        if not key:
            raise Reject("the record's key has no columns")
        if len(key) == 1:
            (key,) = key.values()
    return id_of(key, "the record's key")


def order_of(value: object, path: str) -> int:
    """Read the source's own order. Raise Reject when it is none."""
    if value is MISSING or value is None:
        raise Reject(f"`version: {path}` is {'missing' if value is MISSING else 'null'}, so nothing orders this change")
    if isinstance(value, str) and len(value) <= MAX_ORDER_DIGITS and value.isascii() and value.isdigit():
        return int(value)
    if type(value) is int and 0 <= value < 10**MAX_ORDER_DIGITS:
        return value
    raise Reject(f"`version: {path}` is not a whole number from 0 of at most {MAX_ORDER_DIGITS} digits")


def time_of(value: object, path: str) -> int | None:
    """Read a time as microseconds since 1970, None where there is none. Raise Reject for what is no time."""
    if value is MISSING or value is None:
        return None
    if isinstance(value, str):
        try:
            return parse_time(value)
        except Reject as error:
            raise Reject(f"`time: {path}` is not RFC 3339") from error
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LAST:
        for bound, factor in _UNITS:
            if abs(value) < bound:
                return int(value * factor)
        return int(value) // 1000
    raise Reject(f"`time: {path}` is neither RFC 3339 nor a number since 1970")


def joined_text(row: Mapping[str, Any], paths: Sequence[Path]) -> str:
    """Join the fields' texts by blank lines. Empty, null and absent ones add nothing.

    Raise Reject when all are absent: then the row has other columns than the configuration says, and its text would
    be lost without a word.
    """
    parts = []
    known = False
    for path in paths:
        value = path.find(row)
        if value is MISSING:
            continue
        known = True
        if isinstance(value, str):
            if value:
                parts.append(value)
        elif isinstance(value, dict | list):
            raise Reject(f"the field `{path.text}` is {kind_of(value)}, expected a text")
        elif value is not None:
            parts.append(msgspec.json.encode(value).decode())
    if not known:
        names = ", ".join(f"`{path.text}`" for path in paths)
        raise Reject(f"the row has no field {names}: was a column renamed?")
    return SEPARATOR.join(parts)
