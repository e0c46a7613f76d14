"""PURE: changes as JSON, one object a record, as `headwater publish` takes them.

`{"id": "...", "op": "upsert"|"delete", "body": {...}|"..." | "text": "...", "time": "RFC 3339"}`. `op` defaults to
upsert, a string body is its text, unknown keys are metadata. A record without a value is a delete.

Reasons never hold text of the document: they go into receipts, logs and dead letters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from headwater.errors import Reject
from headwater.log.codecs import records
from headwater.model.change import Change, Outgoing, Record, Undecodable, check_id
from headwater.model.registry import Epoch
from headwater.model.version import Version

_JSON = msgspec.json.Decoder()
_ZONED = Annotated[datetime, msgspec.Meta(tz=True)]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

#: One escape in JSON, of a whole pair together.
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|u....|.)", re.DOTALL)
_HALF = re.compile(rb"\\u[dD][89a-fA-F]..$")

#: Deeper values would end the interpreter's recursion somewhere later, in the middle of other documents' work.
MAX_DEPTH = 128
_TOO_DEEP = f"nested too deeply, at most {MAX_DEPTH} levels are allowed"


def decode(record: Record, epochs: tuple[Epoch, ...]) -> Change | Undecodable:
    """Read one record. Raise ValueError when no log epoch holds its place: the stream has not been opened."""
    version = records.place_version(record, epochs)
    try:
        if record.headers:
            version = records.copied_version(record.headers) or version
        document = records.document_of(record.key)
        reason = records.unreadable_for(record.headers) if record.headers else None
        if reason is not None:
            return records.undecodable(record, version, document, reason, at_source=True)
        if record.value is None:
            return records.delete(record, version, document, record.time_us)
        return change(record, version, document, parse(record.value))
    except Reject as error:
        return records.undecodable(record, version, _readable(record), error.reason)


def _readable(record: Record) -> str:
    try:
        return records.document_of(record.key)
    except Reject:
        return records.name_of(record)


def encode(line: bytes, now_us: int) -> Outgoing:
    """Make a record of one line that `publish` was given; raise Reject when it can be no record of any document.

    The line goes into the log as it is. A missing time is spliced in, so that no body is ever encoded again.
    """
    line = line.strip()
    fields = parse(line)
    document = fields.get("id")
    if problem := check_id(document):
        raise Reject(problem)
    assert isinstance(document, str)
    if "time" not in fields:
        line = b'{"time":"' + render_time(now_us).encode() + b'",' + line[1:].lstrip()
    return Outgoing(document.encode(), line)


def upsert(document: str, text: str, time_us: int, metadata: Mapping[str, Any] | None = None) -> Outgoing:
    """Make a record that sets a document's text, with metadata that is not called `id`, `op`, `body` or `time`."""
    fields = {"id": document, "op": "upsert", "text": text, **(metadata or {}), "time": render_time(time_us)}
    return Outgoing(document.encode(), msgspec.json.encode(fields))


def unreadable(document: str, reason: str, time_us: int) -> Outgoing:
    """Make a record that says that a document cannot be read at its source. The value is for people."""
    fields = {"id": document, "unreadable": reason, "time": render_time(time_us)}
    return Outgoing(document.encode(), msgspec.json.encode(fields), ((records.UNREADABLE_HEADER, reason.encode()),))


def delete(document: str, time_us: int) -> Outgoing:
    """Make a record that deletes a document."""
    fields = {"id": document, "op": "delete", "time": render_time(time_us)}
    return Outgoing(document.encode(), msgspec.json.encode(fields))


def parse(value: bytes) -> dict[str, Any]:
    """Read one JSON object. Raise Reject with the reason for anything else, lone surrogates included."""
    try:
        fields = _JSON.decode(value)
    except UnicodeDecodeError as error:
        raise Reject("not UTF-8") from error
    except RecursionError as error:
        raise Reject(_TOO_DEEP) from error
    except msgspec.ValidationError as error:
        raise Reject("it holds a number that is out of range") from error
    except msgspec.DecodeError as error:
        raise Reject("it holds a lone surrogate" if _lone_surrogate(value) else f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise Reject("not a JSON object")
    # Counting brackets is nearly free, and without so many of them no value is deep.
    if value.count(b"{") + value.count(b"[") > MAX_DEPTH and _deep(fields):
        raise Reject(_TOO_DEEP)
    return fields


def parse_any(value: bytes) -> object:
    """Read any JSON value, by the rules for objects."""
    if value.lstrip()[:1] == b"{":
        return parse(value)
    try:
        _JSON.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Reject("not JSON") from error
    # Alone it is one whole value, so it is one in an object too.
    return parse(b'{"":' + value + b"}")[""]


def _lone_surrogate(value: bytes) -> bool:
    r"""Tell whether half of a pair such as \ud83d\ude00 is what is wrong: the decoder's own words for it mislead."""
    return any(_HALF.match(escape) for escape in _ESCAPE.findall(value))


def _deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return False
        level = inner
    return True


def parse_time(text: object) -> int:
    """Read RFC 3339 as microseconds since the Unix epoch. Raise Reject for anything else."""
    if not isinstance(text, str):
        raise Reject("`time` is not a string")
    # A leap second is legal; `datetime` has none, so it counts as the second after 59.
    leap = text[16:19] == ":60"
    try:
        moment = msgspec.convert(f"{text[:16]}:59{text[19:]}" if leap else text, _ZONED)
    except msgspec.ValidationError as error:
        raise Reject("`time` is not RFC 3339") from error
    return (moment - _EPOCH) // _MICROSECOND + (1_000_000 if leap else 0)


def render_time(time_us: int) -> str:
    """Write microseconds since the Unix epoch as RFC 3339, which knows the years 1 to 9999 only."""
    return (_EPOCH + timedelta(microseconds=min(max(time_us, _FIRST_US), _LAST_US))).isoformat().replace("+00:00", "Z")


def change(record: Record, version: Version, document: str, fields: dict[str, Any]) -> Change:
    """Make the change that these fields describe. They are used up."""
    if fields.pop("id", document) != document:
        raise Reject("`id` differs from the record's key")
    op = fields.pop("op", "upsert")
    time_us = parse_time(fields.pop("time")) if "time" in fields else record.time_us
    if op == "delete":
        return records.delete(record, version, document, time_us)
    if op != "upsert":
        raise Reject("`op` is neither upsert nor delete")
    return records.upsert(record, version, document, _body(fields), time_us)


def _body(fields: dict[str, Any]) -> dict[str, Any]:
    """Bring body, text and metadata into one object. A field of the body's own wins over metadata of its name."""
    if "body" in fields:
        if "text" in fields:
            raise Reject("both `body` and `text` are given")
        body = fields.pop("body")
        if isinstance(body, dict):
            return {**fields, **body} if fields else body
        if not isinstance(body, str):
            raise Reject("`body` is neither an object nor a string")
        fields["text"] = body
    elif not isinstance(fields.get("text"), str):
        raise Reject("`text` is not a string" if "text" in fields else "neither `body` nor `text` is given")
    return fields
