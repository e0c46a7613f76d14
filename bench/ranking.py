"""PURE: how well a ranking answers, and whether one way of ranking is better than another on the same queries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

_RESAMPLES = 10_000


def first_of_each(names: Iterable[str], most: int) -> list[str]:
    """Return at most so many names, each where it comes first: a document ranks where its best chunk does."""
    return list(dict.fromkeys(names))[:most]


def ndcg(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return the discounted cumulative gain of the first k, as a share of what the best ranking has (0 to 1)."""
    gain = sum(1 / log2(place + 1) for place, name in enumerate(ranked[:k], 1) if name in relevant)
    return gain / sum(1 / log2(place + 1) for place in range(1, min(len(relevant), k) + 1))


def recall(ranked: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Return the share of what is relevant that stands among the first k."""
    return len(set(ranked[:k]) & set(relevant)) / len(relevant)


@dataclass(frozen=True)
class Comparison:
    """`mean` of after - before over the queries, its 95 % interval, and how many are better, worse and equal."""

    mean: float
    low: float
    high: float
    wins: int
    losses: int
    ties: int


def compare(before: Sequence[float], after: Sequence[float], seed: int = 1) -> Comparison:
    """Compare query by query. The interval is a percentile bootstrap over queries; a seed gives the same one again."""
    differences = np.subtract(after, before)
    draws = np.random.default_rng(seed)
    means = [differences[draws.integers(len(differences), size=len(differences))].mean() for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return Comparison(
        float(differences.mean()), float(low), float(high), wins, losses, len(differences) - wins - losses
    )
