"""PURE: what stands in the log for a change that is too large for a record.

With a claim check the change's bytes lie elsewhere and the record names them by their digest. Without one a source's
change becomes a record that says how large it was: it is a dead letter, so that nobody takes the version before it for
the newest. Both are told by a header; the value is for people.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from headwater.errors import Reject
from headwater.log.codecs import records
from headwater.log.codecs.json import render_time
from headwater.model.change import Change, Outgoing, Record, Undecodable
from headwater.model.registry import Epoch

#: `sha256:HEX SIZE`: where the change's bytes lie.
CLAIM_HEADER = "headwater-claim"
#: The change's size in bytes.
OVERSIZED_HEADER = "headwater-oversized"
#: Why a claim cannot be met. It is set by whoever reads, and never in the log.
UNMET_HEADER = "headwater-claim-unmet"

_CLAIM = re.compile(rb"sha256:([0-9a-f]{64}) ([0-9]{1,18})")
_SIZE = re.compile(rb"[0-9]{1,18}")
_UNKNOWN = "its bytes lie in a claim check: set log.oversized.claim_check, then retry it"
_TOO_LARGE = "larger than a record of the log may be: raise log.largest, or set log.oversized.claim_check"

#: A batch of one record is so much larger than its parts.
_FRAME_BYTES = 256

Decode = Callable[[Record, tuple[Epoch, ...]], Change | Undecodable]


class Claim(NamedTuple):
    """What was taken out of a record."""

    digest: str
    size: int


def size_of(change: Outgoing) -> int:
    """Return what a change takes as a record, at most."""
    headers = sum(len(name) + len(value) + 10 for name, value in change.headers)
    return len(change.key) + len(change.value or b"") + headers + _FRAME_BYTES


def claimed(change: Outgoing, claim: Claim) -> Outgoing:
    """Return the record of a change whose bytes lie elsewhere."""
    said = {"claim": f"sha256:{claim.digest}", "bytes": claim.size}
    header = (CLAIM_HEADER, f"sha256:{claim.digest} {claim.size}".encode())
    return _standing_for(change, said, header)


def refused(change: Outgoing, now_us: int) -> Outgoing:
    """Return the record that says that a change was too large."""
    size = len(change.value or b"")
    said = {"oversized": size, "time": render_time(now_us)}
    return _standing_for(change, said, (OVERSIZED_HEADER, b"%d" % size))


def _standing_for(change: Outgoing, said: dict[str, object], header: tuple[str, bytes]) -> Outgoing:
    value = msgspec.json.encode({"id": change.key.decode(), **said})
    return Outgoing(change.key, value, (*change.headers, header))


def claim_of(record: Record) -> Claim | None:
    """Return what was taken out of a record; None when nothing was, or when the header names nothing."""
    found = _CLAIM.fullmatch(_header(record, CLAIM_HEADER) or b"")
    return Claim(found[1].decode(), int(found[2])) if found else None


def met(record: Record, value: bytes) -> Record:
    """Return a record with its bytes put back."""
    headers = tuple((name, it) for name, it in record.headers if name != CLAIM_HEADER)
    return msgspec.structs.replace(record, value=value, headers=headers)


def unmet(record: Record, reason: str) -> Record:
    """Return a record whose bytes are nowhere."""
    return msgspec.structs.replace(record, headers=(*record.headers, (UNMET_HEADER, reason.encode())))


def decoding(decode: Decode) -> Decode:
    """Return what reads records as `decode` does, and those that stand for a larger change as dead letters."""

    def read(record: Record, epochs: tuple[Epoch, ...]) -> Change | Undecodable:
        reason = _reason(record) if record.headers else None
        if reason is None:
            return decode(record, epochs)
        version = records.place_version(record, epochs)
        try:
            version = records.copied_version(record.headers) or version
            document = records.document_of(record.key)
        except Reject:
            return decode(record, epochs)  # which says what is wrong with it
        return records.undecodable(record, version, document, reason)

    return read


def _reason(record: Record) -> str | None:
    """Say why a record holds no change, if it stands for one."""
    unmet_ = _header(record, UNMET_HEADER)
    if unmet_ is not None:
        return unmet_.decode(errors="replace")
    if _header(record, CLAIM_HEADER) is not None:
        return _UNKNOWN if claim_of(record) else f"the header {CLAIM_HEADER} names nothing"
    size = _header(record, OVERSIZED_HEADER)
    if size is None:
        return None
    return f"{int(size):,} bytes, {_TOO_LARGE}" if _SIZE.fullmatch(size) else _TOO_LARGE


def _header(record: Record, wanted: str) -> bytes | None:
    return next((value for name, value in record.headers if name == wanted), None)
