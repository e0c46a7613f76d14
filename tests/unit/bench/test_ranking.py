"""nDCG, recall and the paired comparison, on rankings that can be worked out by hand."""

from __future__ import annotations

from math import log2

import pytest

from bench.ranking import compare, first_of_each, ndcg, recall


def test_a_name_ranks_where_it_comes_first() -> None:
    assert first_of_each(["b", "a", "b", "c", "a", "d"], 3) == ["b", "a", "c"]


@pytest.mark.parametrize(("place", "expected"), [(1, 1.0), (2, 1 / log2(3)), (3, 0.5), (10, 1 / log2(11)), (11, 0.0)])
def test_ndcg_of_one_relevant_name_falls_with_its_place(place: int, expected: float) -> None:
    ranked = [f"other{number}" for number in range(12)]
    ranked[place - 1] = "it"
    assert ndcg(ranked, {"it"}, 10) == pytest.approx(expected)


def test_ndcg_of_several_is_a_share_of_the_best_order() -> None:
    assert ndcg(["a", "b", "x"], {"a", "b"}, 10) == 1.0
    assert ndcg(["a", "x", "b"], {"a", "b"}, 10) == pytest.approx((1 + 1 / 2) / (1 + 1 / log2(3)))
    assert ndcg(["a", "b"], {"a", "b", "c", "d"}, 2) == 1.0, "no more than k count"


def test_recall_is_the_share_found_among_the_first() -> None:
    ranked = ["a", "x", "b", "c"]
    assert recall(ranked, {"a", "b", "c", "d"}, 3) == 0.5
    assert recall(ranked, {"c"}, 3) == 0.0


def test_a_comparison_is_paired() -> None:
    found = compare([0.2, 0.9, 0.5, 0.0], [0.3, 1.0, 0.6, 0.1])
    assert found.mean == pytest.approx(0.1)
    assert [found.low, found.high] == pytest.approx([0.1, 0.1]), "each query gains the same"
    assert (found.wins, found.losses, found.ties) == (4, 0, 0)


def test_the_interval_is_the_bootstraps() -> None:
    before, after = [0.0] * 400, [1.0] * 300 + [0.0] * 60 + [-1.0] * 40
    found = compare(before, after)
    assert (found.wins, found.losses, found.ties) == (300, 40, 60)
    assert found.mean == pytest.approx(0.65)
    deviation = (0.85 - 0.65**2) ** 0.5
    half = 1.96 * deviation / 400**0.5
    assert found.low == pytest.approx(found.mean - half, abs=0.01)
    assert found.high == pytest.approx(found.mean + half, abs=0.01)
    assert compare(before, after) == found
    assert compare(before, after, seed=2) != found
    assert compare(after, before).mean == -found.mean
