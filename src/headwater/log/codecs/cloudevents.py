"""PURE: CloudEvents 1.0 as the Kafka protocol binding carries them, in binary and in structured mode."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from headwater.errors import Reject
from headwater.log.codecs.event import Event
from headwater.log.codecs.json import parse_any
from headwater.model.change import Record

_PREFIX = "ce_"
_STRUCTURED = "application/cloudevents"
_DATA = ("data", "data_base64")


def open_event(record: Record, read: Callable[[Record], object]) -> Event:
    """Open an event whose record has a value; `read` reads the data of binary mode. Raise Reject for what is none."""
    attributes, content_type = _headers(record)
    if content_type.startswith("application/cloudevents-batch"):
        raise Reject("a batch of events: write one event a record")
    if content_type.startswith(_STRUCTURED) and not content_type.startswith(f"{_STRUCTURED}+json"):
        raise Reject(f"structured events are read as {_STRUCTURED}+json only")
    if "specversion" in attributes and not content_type.startswith(_STRUCTURED):
        _check(attributes)
        if content_type:
            attributes["datacontenttype"] = content_type
        data = read(record)
        return Event(data, data, attributes=attributes)
    return _structured(parse_any(record.value or b""))


def _headers(record: Record) -> tuple[dict[str, Any], str]:
    attributes: dict[str, Any] = {}
    content_type = ""
    for name, value in record.headers:
        lowered = name.lower()
        if lowered == "content-type":
            content_type = value.decode("latin-1").strip().lower()
        elif lowered.startswith(_PREFIX):
            try:
                attributes[lowered.removeprefix(_PREFIX)] = value.decode()
            except UnicodeDecodeError as error:
                raise Reject("an attribute of the event (a header `ce_...`) is not UTF-8") from error
    return attributes, content_type


def _structured(value: object) -> Event:
    if isinstance(value, list):
        raise Reject("a batch of events: write one event a record")
    if not isinstance(value, dict) or "specversion" not in value:
        raise Reject("not a CloudEvent: neither a header `ce_specversion` nor a field `specversion`")
    attributes = {name: it for name, it in value.items() if name not in _DATA}
    _check(attributes)
    data = value.get("data")
    if "data_base64" in value:
        if data is not None:
            raise Reject("the event has both `data` and `data_base64`")
        data = _decoded(value["data_base64"], attributes.get("datacontenttype"))
    return Event(data, data, attributes=attributes)


def _check(attributes: dict[str, Any]) -> None:
    if attributes["specversion"] != "1.0":
        raise Reject("its `specversion` is not 1.0")


def _decoded(text: object, content_type: object) -> object:
    """Read `data_base64` as what the event says it is: text, else JSON."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise Reject("its `data_base64` is not a text")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Reject("its `data_base64` is not base64") from error
    if isinstance(content_type, str) and content_type.lower().startswith("text/"):
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise Reject("its data is not UTF-8") from error
    try:
        return parse_any(data)
    except Reject as error:
        raise Reject(f"its data is neither text nor JSON: {error.reason}") from error
