"""PURE: Debezium's change events, in their envelope and flattened by its ExtractNewRecordState.

An update that moves a row to another key comes as three records: a delete and a marker of the old key, a create of the
new one. Each is read for itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from headwater.errors import Reject
from headwater.log.codecs.event import Event, object_of

#: Stands for a column that the database did not log, as it was too large and did not change.
UNAVAILABLE: Final = b"__debezium_unavailable_value"

#: The same in columns of bytes, and in arrays of bytes' numbers and of UUIDs (a UUID of version 3).
_UNAVAILABLE_BASE64: Final = base64.b64encode(UNAVAILABLE)
_UNAVAILABLE_NUMBERS: Final = list(UNAVAILABLE)
_MD5: Final = hashlib.md5(UNAVAILABLE, usedforsecurity=False).hexdigest()
_UNAVAILABLE_UUID: Final = (
    f"{_MD5[:8]}-{_MD5[8:12]}-3{_MD5[13:16]}-{int(_MD5[16], 16) & 3 | 8:x}{_MD5[17:20]}-{_MD5[20:]}"
)
_UNAVAILABLE_TEXTS: Final = frozenset({UNAVAILABLE.decode(), _UNAVAILABLE_BASE64.decode(), _UNAVAILABLE_UUID})

#: One of these is in every JSON value that has such a column; looking for bytes is nearly free.
_HINTS: Final = (
    UNAVAILABLE,
    _UNAVAILABLE_BASE64,
    _UNAVAILABLE_UUID.encode(),
    ",".join(map(str, _UNAVAILABLE_NUMBERS)).encode(),
)

_TRUNCATE = (
    "a truncate: it removes rows that it does not name, so nothing was removed; delete those documents one by one, or "
    "build the index anew, then discard this dead letter"
)
_MESSAGE = "a message that was written into the database's log: it is about no row"
_UNKNOWN = "its `op` is none of r, c, u, d, t and m"

#: What ExtractNewRecordState adds to a row begins so. It differs in every event, so it is no part of the document.
ADDED_PREFIX = "__"

_TIMES = ("ts_us", 1, 1), ("ts_ns", 1, 1000), ("ts_ms", 1000, 1)
_LAST_US = 253_402_300_800_000_000


def open_event(value: object) -> Event:
    """Open an envelope, or take a flattened row. Raise Reject for what changes no row."""
    fields = object_of(value)
    source = fields.get("source")
    if isinstance(source, dict) and "op" in fields:
        row, deleted = _row(fields)
        return Event(row, fields, deleted, _time_of(source, ""))
    # A delete is marked by either, depending on how the transformation is set.
    deleted = fields.get("__deleted") in (True, "true")
    operation = fields.get("__op")
    if operation is not None:
        deleted = deleted or operation == "d"
        _check(operation)
    return Event(fields, fields, deleted, _time_of(fields, "__source_") or _time_of(fields, ADDED_PREFIX))


def _row(fields: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    operation = fields["op"]
    _check(operation)
    row = fields.get("before" if operation == "d" else "after")
    if operation != "d" and not isinstance(row, dict):
        raise Reject("the event has no row in `after`")
    return row if isinstance(row, dict) else None, operation == "d"


def _check(operation: object) -> None:
    if operation == "t":
        raise Reject(_TRUNCATE)
    if operation == "m":
        raise Reject(_MESSAGE)
    if not isinstance(operation, str) or operation not in {"r", "c", "u", "d"}:
        raise Reject(_UNKNOWN)


def _time_of(fields: Mapping[str, Any], prefix: str) -> int | None:
    for name, factor, divisor in _TIMES:
        value = fields.get(prefix + name)
        if type(value) is int and 0 < value * factor // divisor < _LAST_US:
            return value * factor // divisor
    return None


def may_lack_columns(value: bytes) -> bool:
    """Tell whether this JSON can have an unavailable column at all."""
    return any(hint in value for hint in _HINTS)


def is_unavailable(value: object) -> bool:
    """Tell whether the value stands for a column that the event does not have."""
    if isinstance(value, str):
        return value in _UNAVAILABLE_TEXTS
    if isinstance(value, list):
        return value == _UNAVAILABLE_NUMBERS or any(isinstance(it, str) and it in _UNAVAILABLE_TEXTS for it in value)
    return isinstance(value, dict) and any(it in _UNAVAILABLE_TEXTS for it in value)


def check_available(columns: Iterable[tuple[str, object]]) -> None:
    """Raise Reject when one of these columns is not in the event: its text must not be embedded, nor its old one kept
    for the new.
    """
    for name, value in columns:
        if is_unavailable(value):
            raise Reject(
                f"the column `{name}` is not in the event, as it is large and did not change: set REPLICA IDENTITY "
                "FULL for the table and touch the row, or leave the column out (`text`, `body`)"
            )
