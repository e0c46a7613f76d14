"""What travels between a reader and its workers: length and MessagePack."""

from __future__ import annotations

import struct
from typing import IO

import msgspec

from headwater.documents.limits import Limits
from headwater.documents.port import Extracted

_LENGTH = struct.Struct(">Q")


class Question(msgspec.Struct, frozen=True, array_like=True):
    """One document to be read."""

    name: str
    data: bytes
    limits: Limits


class Read(msgspec.Struct, frozen=True, tag=True):
    """It was read."""

    extracted: Extracted


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """It cannot be read."""

    reason: str


class Slow(msgspec.Struct, frozen=True, tag=True):
    """Its time was over."""

    reason: str


class Retried(msgspec.Struct, frozen=True, tag=True):
    """The machine is at fault."""

    cause: str


class Killed(msgspec.Struct, frozen=True, tag=True):
    """Somebody, or the kernel, killed what read it."""


Reply = Read | Rejected | Slow | Retried | Killed
REPLY: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def write(stream: IO[bytes], data: bytes) -> None:
    """Write a frame."""
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def read(stream: IO[bytes], most: int | None = None) -> bytes | None:
    """Read a frame; None when the stream ended before it was whole, or when it is longer than it may be."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    if most is not None and size > most:
        return None
    data = stream.read(size)
    return data if len(data) == size else None
