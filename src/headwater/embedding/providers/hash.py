"""The model for tests and for measuring: signed counts of words, hashed into a fixed number of buckets.

It knows no meaning and costs almost nothing. Counts are integers until the last division, so equal texts get
bit-equal vectors, whatever else stands in the batch and whatever machine counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from zlib import crc32

import numpy as np
import numpy.typing as npt

from headwater.embedding.port import Compute, Description, Embedded, Purpose, on_a_thread
from headwater.embedding.providers.wordless import wordless

_REVISION = 1
_WORD = re.compile(r"\w+")
_BUCKETS_MAX = 1 << 14
_CACHED_WORDS_MAX = 1 << 16
_CACHED_WORD_CHARACTERS = 64
# Below this a hop to a thread costs more than the work itself (about 20 ns a character).
_INLINE_CHARACTERS = 16_000


class HashEmbedder:
    """Each lower-cased word adds +1 or -1 to the bucket that its CRC-32 names; the sum is brought to length 1."""

    def __init__(
        self,
        *,
        dimensions: int = 256,
        max_texts: int = 256,
        max_characters: int = 1_000_000,
        compute: Compute = on_a_thread,
    ) -> None:
        if not 2 <= dimensions <= _BUCKETS_MAX:
            raise ValueError(f"dimensions must lie between 2 and {_BUCKETS_MAX}, not {dimensions}")
        recipe = f"hash\n{_REVISION}\n{dimensions}\ncrc32 signed\nl2"
        self._description = Description(
            name="hash",
            fingerprint=sha256(recipe.encode()).hexdigest(),
            dimensions=dimensions,
            max_texts=max_texts,
            max_characters=max_characters,
            witnessed=False,
        )
        self._slots = _Slots(dimensions)
        self._compute = compute

    def __repr__(self) -> str:
        return f"HashEmbedder(dimensions={self._description.dimensions})"

    def describe(self) -> Description:
        return self._description

    async def open(self) -> None:
        """There is nothing to learn."""

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:  # noqa: ARG002 (it makes no difference here)
        """Embed in place when the texts are short, on a thread when they are long."""
        if sum(map(len, texts)) <= _INLINE_CHARACTERS:
            return self._embed(texts)
        return await self._compute(lambda: self._embed(texts))

    async def close(self) -> None:
        self._slots.clear()

    def _embed(self, texts: Sequence[str]) -> Embedded:
        vectors = np.empty((len(texts), self._description.dimensions), dtype=np.float32)
        tokens = 0
        for row, text in enumerate(texts):
            slots = self._slots.of(text)
            tokens += len(slots)
            vectors[row] = self._vector(text, slots)
        return Embedded(vectors=vectors, index=tuple(range(len(texts))), tokens=tokens)

    def _vector(self, text: str, slots: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Count per bucket, and bring to length 1. Integers up to the division: no order of summing can show."""
        dimensions = self._description.dimensions
        counts = np.bincount(slots, minlength=2 * dimensions)
        signed = counts[:dimensions] - counts[dimensions:]
        length = np.sqrt(float(signed @ signed))
        if length == 0.0:  # no words, or words that cancel each other
            return wordless(text, dimensions)
        vector: npt.NDArray[np.float32] = (signed / length).astype(np.float32)
        return vector


class _Slots(dict[str, bytes]):
    """Word -> its slot (bucket, or bucket + dimensions for the negative half) as two bytes; forgets all when full."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self._dimensions = dimensions

    def of(self, text: str) -> npt.NDArray[np.uint16]:
        """Return the slots of a text's words, in order."""
        return np.frombuffer(b"".join(map(self.__getitem__, _WORD.findall(text.lower()))), dtype=np.uint16)

    def __missing__(self, word: str) -> bytes:
        # The lowest bit is the sign, the rest choose the bucket, so that the two are independent.
        digest = crc32(word.encode())
        slot = (digest >> 1) % self._dimensions + (digest & 1) * self._dimensions
        found = np.uint16(slot).tobytes()
        if len(word) <= _CACHED_WORD_CHARACTERS:
            if len(self) >= _CACHED_WORDS_MAX:
                self.clear()
            self[word] = found
        return found
