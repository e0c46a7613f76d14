"""Changes: what the log carries."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from headwater.model.version import Place, Version

MAX_ID_BYTES = 1024


class Op(StrEnum):
    """What a change does to its document."""

    UPSERT = "upsert"
    DELETE = "delete"


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record of the log, undecoded. `value` None is a delete marker; `time_us` is when the log took it."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None
    time_us: int
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def place(self) -> Place:
        """Where it lies."""
        return Place(self.partition, self.offset)

    @property
    def size_bytes(self) -> int:
        """What holding it costs."""
        return len(self.key) + len(self.value or b"") + 120


class Outgoing(NamedTuple):
    """A change on its way into the log: the document id's bytes, and the record's value (None is a delete marker)."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Change(msgspec.Struct, frozen=True, gc=False):
    """One decoded record about one document.

    `body` is None for a delete. `digest` is that of the body alone, not of its time or op: equal bodies have equal
    digests. `time_us` is the source's change time, `appended_us` when the log took it. `size_bytes` is what holding it
    costs. `trace` is the producer's trace that it belongs to (W3C `traceparent`), or empty.
    """

    id: str
    op: Op
    version: Version
    place: Place
    body: dict[str, Any] | None
    digest: bytes
    time_us: int
    appended_us: int
    size_bytes: int
    trace: str = ""


class Undecodable(msgspec.Struct, frozen=True, gc=False):
    """A record that is no change: a dead letter from the start. `id` is the record's key, as far as it can be read.

    `at_source`: nothing is wrong with the record, which says that the document could not be read where it comes from.
    """

    id: str
    version: Version
    place: Place
    digest: bytes
    reason: str
    appended_us: int
    size_bytes: int
    at_source: bool = False


def mark_of(change: Change | Undecodable) -> bytes:
    """What tells a record from any other that a rewound log may hold at its place: document, body, and when the log
    took it. Bodies alone are equal too often: all deletes have one.
    """
    return digest(b"%d\0%b%b" % (change.appended_us, change.digest, change.id.encode()))


def witness_of(document: str, body_digest: bytes) -> bytes:
    """What an index can tell of a change that it applied, to find the same one in the log again."""
    return digest(body_digest + document.encode())


def digest(text: str | bytes) -> bytes:
    """SHA-256. Text is UTF-8; a lone surrogate cannot get here."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).digest()


def digest_value(value: object) -> bytes:
    """Digest of a JSON-like value, independent of the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).digest()


def check_id(value: object) -> str | None:
    """Say what is wrong with a document id, or None. Ids are strings, compared as bytes, at most 1 KiB of UTF-8."""
    if not isinstance(value, str):
        return "`id` is not a string" if value is not None else "`id` is missing"
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "`id` holds a lone surrogate"
    if size > MAX_ID_BYTES:
        return f"`id` is {size} bytes, at most {MAX_ID_BYTES} are allowed"
    return "`id` is empty" if not size else None
