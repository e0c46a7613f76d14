"""PURE: what every codec does alike: a record's version, what its headers carry, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from headwater.errors import Reject
from headwater.model.change import Change, Op, Record, Undecodable, check_id, digest, digest_value
from headwater.model.registry import Epoch, epoch_of
from headwater.model.version import Version

#: The header in which a copy (mirrored by a migration) carries its original's version.
VERSION_HEADER = "headwater-version"

#: The header in which the producer's trace goes on (W3C Trace Context).
TRACE_HEADER = "traceparent"

#: Why the source could not make a document of what lies there. The record stands for a change that nobody could read.
UNREADABLE_HEADER = "headwater-unreadable"

_TRACE = re.compile(rb"((?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?", re.DOTALL)

_NOTHING = digest(b"")


def place_version(record: Record, epochs: tuple[Epoch, ...]) -> Version:
    """Return the version that the record's place gives. Raise ValueError when no log epoch holds it: the stream has not
    been opened.
    """
    return Version(epoch_of(epochs, record.place), 0, record.partition, record.offset)


def copied_version(headers: Iterable[tuple[str, bytes]]) -> Version | None:
    """Return the version of the original that this record is a copy of. Raise Reject for a header that holds none."""
    found = None
    for name, value in headers:
        if name == VERSION_HEADER:
            try:
                found = Version.parse(value.decode("ascii"))
            except ValueError as error:
                raise Reject(f"the header {VERSION_HEADER} is not a version") from error
    return found


def trace_of(headers: Iterable[tuple[str, bytes]]) -> str:
    """Return the trace that the change belongs to, or "" where there is none that is well-formed."""
    for name, value in headers:
        if name == TRACE_HEADER:
            found = _TRACE.fullmatch(value)
            # Later versions of the standard may append to the four fields, and only they.
            return found[1].decode("ascii") if found and not (found[2] and value.startswith(b"00")) else ""
    return ""


def unreadable_for(headers: Iterable[tuple[str, bytes]]) -> str | None:
    """Say why the record's document could not be read at its source; None for a record that holds a change."""
    found = next((value for name, value in headers if name == UNREADABLE_HEADER), None)
    return None if found is None else found.decode(errors="replace")


def document_of(key: bytes) -> str:
    """Read a record's key as a document id. Raise Reject when it can be none."""
    try:
        document = key.decode()
    except UnicodeDecodeError as error:
        raise Reject("the record's key is not UTF-8") from error
    if problem := check_id(document):
        raise Reject(problem)
    return document


def name_of(record: Record) -> str:
    """Name a record that has no document id: no two may become one document."""
    return f"record {record.partition}.{record.offset}"


def upsert(record: Record, version: Version, document: str, body: dict[str, Any], time_us: int) -> Change:
    """Make the change that sets a document."""
    return Change(
        id=document,
        op=Op.UPSERT,
        version=version,
        place=record.place,
        body=body,
        digest=digest_value(body),
        time_us=time_us,
        appended_us=record.time_us,
        size_bytes=record.size_bytes,
        trace=trace_of(record.headers) if record.headers else "",
    )


def delete(record: Record, version: Version, document: str, time_us: int) -> Change:
    """Make the change that deletes a document."""
    return Change(
        id=document,
        op=Op.DELETE,
        version=version,
        place=record.place,
        body=None,
        digest=_NOTHING,
        time_us=time_us,
        appended_us=record.time_us,
        size_bytes=record.size_bytes,
        trace=trace_of(record.headers) if record.headers else "",
    )


def undecodable(
    record: Record, version: Version, document: str, reason: str, *, at_source: bool = False
) -> Undecodable:
    """Make what becomes a dead letter."""
    return Undecodable(
        id=document,
        version=version,
        place=record.place,
        digest=digest(record.value or b""),
        reason=reason,
        appended_us=record.time_us,
        size_bytes=record.size_bytes,
        at_source=at_source,
    )
