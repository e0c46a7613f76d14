"""PURE: from the vectors of an answer, as JSON carries them, to rows of float32."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeGuard, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

T = TypeVar("T")

#: A vector as numbers. Servers in Rust write null for a number that is none.
Numbers = list[float | None]


class Read(msgspec.Struct, frozen=True):
    """What an answer holds: `vectors` of shape (n, dimensions); row i belongs to the text at `index[i]` of the call.

    `tokens` is what the service counted; None: it does not say.
    """

    vectors: npt.NDArray[np.float32]
    index: tuple[int, ...]
    tokens: int | None


class Damaged(Exception):
    """The vectors of an answer are not what was agreed on. It says what is wrong with them."""


def decode(body: bytes, kind: type[T]) -> T:
    """Decode JSON. Raise msgspec.ValidationError for another shape, msgspec.DecodeError when it is no JSON at all."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Servers in Python write NaN, which is no JSON: one bad vector must not look like a broken service.
        return msgspec.convert(_lenient(body), type=kind)


def rows(vectors: Sequence[bytes | Numbers]) -> npt.NDArray[np.float32]:
    """Return the vectors as rows, from little-endian float32 or plain numbers, whichever was sent. What is no number is
    NaN. Raise Damaged when the vectors are none, or differ in length.
    """
    if _packed(vectors):
        found = _from_bytes(vectors)
    elif _plain(vectors):
        found = _from_numbers(vectors)
    else:
        raise Damaged("some of its vectors are base64 and some are not")
    if found.ndim != 2 or found.shape[1] == 0:
        raise Damaged("its vectors hold no numbers")
    return found


def _from_bytes(vectors: Sequence[bytes]) -> npt.NDArray[np.float32]:
    size = len(vectors[0])
    if size % 4 or any(len(it) != size for it in vectors):
        raise Damaged("its vectors differ in length, or are no float32")
    return np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1).astype(np.float32, copy=False)


def _from_numbers(vectors: Sequence[Numbers]) -> npt.NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # too large a number becomes infinite, which nobody takes for a vector
            return np.array(vectors, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise Damaged("its vectors differ in length") from error


def _packed(vectors: Sequence[bytes | Numbers]) -> TypeGuard[Sequence[bytes]]:
    return bool(vectors) and all(isinstance(it, bytes) for it in vectors)


def _plain(vectors: Sequence[bytes | Numbers]) -> TypeGuard[Sequence[Numbers]]:
    return all(isinstance(it, list) for it in vectors)


def _lenient(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise msgspec.DecodeError("no JSON") from error
