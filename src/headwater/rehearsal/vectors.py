"""The vectors of a faulty provider: of a text alone, bit for bit, and moved where the plan says so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import shake_256

import numpy as np
import numpy.typing as npt

from headwater.embedding.providers.hash import HashEmbedder
from headwater.rehearsal.plan import Fault, Plan

Vectors = npt.NDArray[np.float32]


class Model:
    """Turns texts into unit vectors of shape (n, dimensions), float32."""

    def __init__(self, plan: Plan) -> None:
        self._dimensions = plan.dimensions
        self._words = HashEmbedder(dimensions=plan.dimensions) if plan.vectors == "words" else None

    async def embed(self, texts: Sequence[str], drift: float) -> Vectors:
        """Embed. With a drift d the result is the unit vector of (1 - d) times its own and d times a foreign one."""
        if self._words is None:
            own = _of_digests(texts, self._dimensions, b"own")
        else:
            own = (await self._words.embed(texts)).vectors
        if not drift:
            return own
        return _unit((1 - drift) * own + drift * _of_digests(texts, self._dimensions, b"foreign"))


def shortened(vectors: Vectors, dimensions: int) -> Vectors:
    """Return the first numbers of each vector, brought to length 1."""
    return _unit(vectors[:, :dimensions])


def spoiled(vectors: Vectors, faults: Collection[Fault]) -> tuple[list[int], Vectors]:
    """Return the `index` of each item of an answer, and its vector, as the faults leave them."""
    index = list(range(len(vectors)))
    if Fault.ITEM_MISSING in faults:
        index.pop()
        vectors = vectors[:-1]
    if Fault.INDEX_TWICE in faults and index:
        index[-1] = 0 if len(index) > 1 else 1  # one item alone claims a place that is not there
    if Fault.WRONG_DIMENSION in faults:
        vectors = vectors[:, :-1]
    if Fault.SCALED in faults:
        vectors = vectors * np.float32(3)
    if Fault.NOT_FINITE in faults:
        vectors = vectors.copy()
        vectors[:1, :1] = np.nan
    return index, vectors


def _of_digests(texts: Sequence[str], dimensions: int, salt: bytes) -> Vectors:
    """Read a digest's bytes as numbers: as good as random, and a few microseconds a text."""
    digests = b"".join(shake_256(salt + text.encode()).digest(dimensions) for text in texts)
    numbers = np.frombuffer(digests, dtype=np.int8).reshape(len(texts), dimensions)
    return _unit(numbers + np.float32(0.5))  # no vector of zeros


def _unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)
    return unit
