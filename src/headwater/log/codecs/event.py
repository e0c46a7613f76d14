"""PURE: what every envelope is opened into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from headwater.errors import Reject

_NO_ATTRIBUTES: Mapping[str, Any] = {}


class Event(NamedTuple):
    """A record without its envelope.

    `row` describes the document: an object, a text, or None where the record has none. `whole` is where the paths of
    `version` and `time` begin. `deleted` is the envelope's own word. `time_us` is the time that the envelope gives.
    """

    row: Any
    whole: Any
    deleted: bool = False
    time_us: int | None = None
    attributes: Mapping[str, Any] = _NO_ATTRIBUTES


def bare(value: object) -> Event:
    """Take a value without an envelope."""
    return Event(value, value)


def without_schema(value: object) -> object:
    """Take the schema away that Kafka Connect's JsonConverter puts beside every value (`schemas.enable`)."""
    if isinstance(value, dict) and len(value) == 2 and "payload" in value:
        schema = value.get("schema", 0)
        if schema is None or (isinstance(schema, dict) and "type" in schema):
            return value["payload"]
    return value


def object_of(value: object) -> dict[str, Any]:
    """Return the value if it is an object, else raise Reject."""
    if not isinstance(value, dict):
        raise Reject("the value is not an object")
    return value
