"""The gateway: the only way from the engine to a model. It packs, checks every answer, and finds who is to blame.

A text is blamed only while a known-good probe passes: a model that refuses everything is an outage, not a corpus of
poison (anomaly poison-block). What it leaves for later: budgets, lanes, single-flight.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from headwater.embedding.batching import pack
from headwater.embedding.port import Embedded, Embedder
from headwater.errors import Halt, Reject, Retry
from headwater.model.receipt import Usage
from headwater.patience import Patience

#: A text that every model can embed.
PROBE = "Headwater keeps embeddings true to their source."

#: Vectors whose length differs from 1 by more than this are brought to it.
NORM_TOLERANCE = 1e-3


class Refused(msgspec.Struct, frozen=True):
    """The model cannot embed this text, and could embed another one at the same time."""

    reason: str


class _Meter:
    """Counts what one request to the gateway cost: the calls that were answered."""

    def __init__(self) -> None:
        self.usage = Usage()


class Gateway:
    """Embeds texts of any number: in the order asked, each a vector (little-endian float32, length 1) or Refused."""

    def __init__(self, embedder: Embedder, patience: Patience) -> None:
        self._embedder = embedder
        self._patience = patience
        self.model = embedder.describe()

    async def embed(self, texts: Sequence[str]) -> tuple[list[bytes | Refused], Usage]:
        """Embed all, and say what that cost. Waits out outages; raise Halt when vectors are not as promised."""
        vectors: list[bytes | Refused] = []
        meter = _Meter()
        for part in pack([len(text) for text in texts], self.model.max_texts, self.model.max_characters):
            vectors += await self._embed(texts[part], meter)
        return vectors, meter.usage

    async def _embed(self, texts: Sequence[str], meter: _Meter) -> list[bytes | Refused]:
        if len(texts) == 1:
            return await self._patience.call(lambda: self._embed_one(texts, meter))
        try:
            return await self._patience.call(lambda: self._call(texts, meter))
        except Reject:
            middle = len(texts) // 2
            return [*await self._embed(texts[:middle], meter), *await self._embed(texts[middle:], meter)]

    async def _embed_one(self, texts: Sequence[str], meter: _Meter) -> list[bytes | Refused]:
        try:
            return await self._call(texts, meter)
        except Reject:
            await self._probe(meter)
        # The model may have been ill when it refused the text and well again for the probe: ask once more.
        try:
            return await self._call(texts, meter)
        except Reject as reject:
            return [Refused(reject.reason)]

    async def _probe(self, meter: _Meter) -> None:
        try:
            await self._call([PROBE], meter)
        except Reject as reject:
            raise Retry(self.model.name, f"it refuses every text: {reject.reason}") from reject

    async def _call(self, texts: Sequence[str], meter: _Meter) -> list[bytes | Refused]:
        answer = await self._embedder.embed(texts)
        meter.usage += Usage(calls=1, texts=len(texts), tokens=answer.tokens)
        return check(answer, len(texts), self.model.name, self.model.dimensions)

    async def close(self) -> None:
        """Close the embedder."""
        await self._embedder.close()


def check(answer: Embedded, asked: int, name: str, dimensions: int) -> list[bytes | Refused]:
    """Bring an answer into the order asked, and refuse what no index may hold.

    Raise Retry when texts and vectors do not match one to one, Halt("dimension-mismatch") when the vectors have another
    shape, Reject when a single text has no usable vector, so that it is looked into alone.
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
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise Reject("the model's vector is not finite, or zero")
    # Row by row: what stands beside a text in its batch must not show in its vector.
    long = np.abs(norms - 1) > NORM_TOLERANCE
    if long.any():
        vectors = np.where(long[:, None], vectors / norms[:, None], vectors)
    if answer.index != tuple(range(asked)):
        vectors = vectors[np.argsort(answer.index)]
    data = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
    width = 4 * dimensions
    return [data[i : i + width] for i in range(0, len(data), width)]
