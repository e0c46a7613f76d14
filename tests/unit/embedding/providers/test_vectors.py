"""Vectors as JSON carries them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.embedding.providers.vectors import Damaged, decode, rows

FLOATS = st.floats(width=32, allow_nan=False)


def packed(*values: float) -> bytes:
    return np.asarray(values, "<f4").tobytes()


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(FLOATS, min_size=n, max_size=n), min_size=1, max_size=4)))
def test_both_forms_carry_the_same(vectors: list[list[float]]) -> None:
    expected = np.asarray(vectors, np.float32)
    for found in (rows([packed(*vector) for vector in vectors]), rows([[*vector] for vector in vectors])):
        assert found.dtype == np.float32
        assert found.tobytes() == expected.tobytes()


def test_what_is_no_number_stays_visible() -> None:
    assert np.isnan(rows([[1.0, None]])[0, 1])
    assert np.isinf(rows([[1.0, 1e300]])[0, 1])
    assert decode(b"[[NaN, 1.0]]", list[list[float]])[0][1] == 1.0


@pytest.mark.parametrize(
    "vectors",
    [
        [],
        [[]],
        [[], []],
        [[1.0, 2.0], [1.0]],
        [b"", b""],
        [packed(1, 2), packed(1)],
        [b"abc"],
        [packed(1), [1.0]],
    ],
)
def test_what_are_no_vectors(vectors: list[bytes | list[float | None]]) -> None:
    with pytest.raises(Damaged):
        rows(vectors)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[[1.0", b"\xff"])
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as error:
        decode(body, list[list[float]])
    assert not isinstance(error.value, msgspec.ValidationError)


def test_json_of_another_shape() -> None:
    for body in (b'{"a": 1}', b'{"a": NaN}', b"[" * 100_000):
        with pytest.raises(msgspec.ValidationError):
            decode(body, list[list[float]])
