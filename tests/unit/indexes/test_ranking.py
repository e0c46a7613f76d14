"""Exact ranking, and what a filter means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headwater.indexes import rules
from headwater.indexes.ranking import nearest


def test_equal_vectors_have_equal_scores_wherever_they_lie() -> None:
    dice = np.random.default_rng(1)
    vectors = dice.normal(size=(1003, 37)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    twins = [0, 1, 2, 3, 500, 777, 1001, 1002]
    vectors[twins] = vectors[9]
    query = vectors[9] + dice.normal(size=37).astype(np.float32) * np.float32(0.01)
    places, scores = nearest(vectors, query, 1, None)
    assert sorted(places.tolist()) == sorted([*twins, 9])
    assert len(set(scores.tolist())) == 1


@pytest.mark.parametrize("count", [0, 1, 7, 200, 500])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_the_best_of_the_allowed(count: int, share: float) -> None:
    dice = np.random.default_rng(2)
    vectors = dice.normal(size=(200, 8)).astype(np.float32)
    query = dice.normal(size=8).astype(np.float32)
    allowed = dice.random(200) < share
    places, _ = nearest(vectors, query, count, allowed)
    by_score = sorted(np.flatnonzero(allowed).tolist(), key=lambda place: -float(vectors[place] @ query))
    assert set(places.tolist()) == set(by_score[:count])


@pytest.mark.parametrize(
    ("payload", "where", "holds"),
    [
        ({}, {}, True),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": 2}, True),
        ({"a": [1, 2]}, {"a": [1, 2]}, True),
        ({"a": [True]}, {"a": 1}, False),
        ({"a": None}, {"a": None}, True),
        ({}, {"a": None}, False),
        ({"a": "abc"}, {"a": "b"}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
    ],
)
def test_filters(payload: dict[str, Any], where: dict[str, Any], holds: bool) -> None:
    assert rules.matches(payload, where) is holds
