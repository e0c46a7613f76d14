"""Exact ranking by cosine: which rows of a matrix of normalised vectors lie nearest to a query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.errors import Halt

Vectors = NDArray[np.float32]

#: More than what float32 sums over a few thousand dimensions can differ by, depending on where in memory a row lies.
_SLACK = 1e-4


def query_vector(vector: bytes, dimensions: int) -> Vectors:
    """Read a query's vector, or halt when it is of another size than the index's."""
    if len(vector) != 4 * dimensions:
        raise Halt("dimension-mismatch", f"a query of {len(vector) // 4} dimensions for an index of {dimensions}")
    return np.frombuffer(vector, dtype="<f4")


def nearest(
    vectors: Vectors, query: Vectors, count: int, allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the places and scores of the `count` best rows and of all that tie with the last of them, in no order.

    The fast product only chooses candidates. Their scores are summed again in double precision, row by row, so that
    equal vectors have equal scores wherever they lie.
    """
    scores = vectors @ query
    if allowed is not None:
        scores[~allowed] = -np.inf
        count = min(count, int(np.count_nonzero(allowed)))
    if count <= 0 or not len(scores):
        return np.empty(0, np.intp), np.empty(0, np.float64)
    bar = _count_th_best(scores, count)
    places = np.flatnonzero(scores >= bar - _SLACK)
    exact = (vectors[places].astype(np.float64) * query).sum(axis=1)
    kept = exact >= _count_th_best(exact, count)
    return places[kept], exact[kept]


def _count_th_best(scores: NDArray[np.float32] | NDArray[np.float64], count: int) -> float:
    if count >= len(scores):
        return float(scores.min())
    return float(np.partition(scores, len(scores) - count)[len(scores) - count])
