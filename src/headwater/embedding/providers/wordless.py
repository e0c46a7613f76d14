"""The vector of a text in which a model finds nothing to count.

Chunks of punctuation alone occur in real documents, and an empty query occurs too. They are no fault of the document,
so they must not become dead letters: they get a unit vector that depends on nothing but the text. It means nothing; it
is about orthogonal to every other vector, so hardly any query but the text itself finds it.
"""

from __future__ import annotations

from hashlib import shake_128

import numpy as np
import numpy.typing as npt


def wordless(text: str, dimensions: int) -> npt.NDArray[np.float32]:
    """Return +1 and -1 by the bits of the text's digest, brought to length 1."""
    digest = shake_128(text.encode("utf-8", "surrogatepass")).digest((dimensions + 7) // 8)
    bits = np.unpackbits(np.frombuffer(digest, dtype=np.uint8))[:dimensions]
    signs = bits.astype(np.float32) * 2 - 1
    return np.divide(signs, np.sqrt(np.float32(dimensions))).astype(np.float32)
