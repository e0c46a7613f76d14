"""PURE: what a model's answer must be before anybody may use it."""

from __future__ import annotations

import numpy as np

from headwater.embedding.port import Embedded
from headwater.errors import Halt, Reject, Retry

#: Vectors whose length differs from 1 by more than this are brought to it.
NORM_TOLERANCE = 1e-3


class Unusable(Reject):
    """A vector that is not finite, or zero: the text's doing, or a model that is ill."""


def check(answer: Embedded, asked: int, name: str, dimensions: int) -> list[bytes]:
    """Bring an answer into the order asked: each vector little-endian float32 and of length 1.

    Raise Retry when texts and vectors do not match one to one, Halt("dimension-mismatch") when the vectors have another
    shape, Unusable for the first text without a vector that an index may hold.
    """
    vectors = answer.vectors
    if sorted(answer.index) != list(range(asked)) or len(vectors) != asked:
        raise Retry(name, f"answered {len(vectors)} vectors for {asked} texts, or not one for each")
    if vectors.ndim != 2 or vectors.shape[1] != dimensions:
        raise Halt(
            "dimension-mismatch",
            f"{name} answered vectors of shape {vectors.shape}, {dimensions} dimensions were declared",
            "Another model answers behind this name; nothing of it was written",
        )
    norms = np.linalg.norm(vectors, axis=1)
    usable = np.isfinite(norms) & (norms > 0)
    if not usable.all():
        raise Unusable("the model's vector is not finite, or zero", answer.index[int(np.argmin(usable))])
    # Row by row: what stands beside a text in its batch must not show in its vector.
    long = np.abs(norms - 1) > NORM_TOLERANCE
    if long.any():
        vectors = np.where(long[:, None], vectors / norms[:, None], vectors)
    if answer.index != tuple(range(asked)):
        vectors = vectors[np.argsort(answer.index)]
    data = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
    width = 4 * dimensions
    return [data[i : i + width] for i in range(0, len(data), width)]
