"""Vectors hang on their text alone, and are spoiled as the faults say."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from headwater.rehearsal.plan import Fault, read_plan
from headwater.rehearsal.vectors import Model, Vectors, shortened, spoiled


def embedded(*texts: str, drift: float = 0.0, **plan: Any) -> Vectors:
    return asyncio.run(Model(read_plan(plan)).embed(texts, drift))


@pytest.mark.parametrize("kind", ["digest", "words"])
def test_a_text_has_one_vector_of_length_1(kind: str) -> None:
    together = embedded("one", "two fish", vectors=kind)
    assert together.shape == (2, 384)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert np.array_equal(together[1], embedded("two fish", vectors=kind)[0])


def test_texts_are_unlike_or_share_their_words() -> None:
    one, other = embedded("red fish", "blue fish")
    assert abs(float(one @ other)) < 0.3
    one, other = embedded("red fish", "blue fish", vectors="words")
    assert float(one @ other) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("drift", "cosine"), [(0.0, 1.0), (0.1, 0.99), (0.5, 0.71), (1.0, 0.0)])
def test_drift_moves_vectors(drift: float, cosine: float) -> None:
    before, after = embedded("text"), embedded("text", drift=drift)
    assert float(before[0] @ after[0]) == pytest.approx(cosine, abs=0.12)
    assert np.linalg.norm(after) == pytest.approx(1, abs=1e-6)


def test_shortened_vectors_have_length_1() -> None:
    whole = embedded("text")
    short = shortened(whole, 8)
    assert short.shape == (1, 8)
    assert np.allclose(short, whole[:, :8] / np.linalg.norm(whole[:, :8]))


@pytest.mark.parametrize("texts", [1, 3])
def test_faults_spoil_an_answer(texts: int) -> None:
    whole = embedded(*"abc"[:texts])
    index, vectors = spoiled(whole, ())
    assert index == list(range(texts))
    assert np.array_equal(vectors, whole)
    assert spoiled(whole, [Fault.ITEM_MISSING])[1].shape == (texts - 1, 384)
    assert spoiled(whole, [Fault.WRONG_DIMENSION])[1].shape == (texts, 383)
    assert sorted(spoiled(whole, [Fault.INDEX_TWICE])[0]) != list(range(texts))
    assert np.isnan(spoiled(whole, [Fault.NOT_FINITE])[1]).sum() == 1
    assert np.allclose(np.linalg.norm(spoiled(whole, [Fault.SCALED])[1], axis=1), 3)
    assert np.isfinite(whole).all(), "the vectors themselves stay whole"
    assert len(spoiled(whole, [Fault.ITEM_MISSING, Fault.INDEX_TWICE, Fault.NOT_FINITE])[0]) == texts - 1
