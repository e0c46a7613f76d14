"""PURE: freshness, from the source's change time to the moment a search finds the change."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import msgspec


class Freshness(msgspec.Struct, frozen=True):
    """Percentiles in seconds over `count` changes. `skewed` of them claimed a time in the future and count as 0."""

    count: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    skewed: int


def freshness(pairs: Iterable[tuple[int, int]]) -> Freshness:
    """Sum up (changed, searchable) pairs, both in microseconds. Nearest-rank percentiles."""
    ages = [applied - changed for changed, applied in pairs]
    skewed = sum(age < 0 for age in ages)
    ordered = sorted(max(age, 0) / 1e6 for age in ages)

    def rank(share: float) -> float | None:
        return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None

    return Freshness(len(ordered), rank(0.50), rank(0.95), rank(0.99), skewed)
