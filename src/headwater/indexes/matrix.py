"""The vectors of an index in memory: one growing matrix, and beside it the key of each row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_FIRST_CAPACITY = 256


class Matrix:
    """Rows in no order; a row that is removed is replaced by one from the end, so that the rows stay dense."""

    def __init__(self, dimensions: int) -> None:
        self._size = 0
        self.dimensions = dimensions
        self._keys: NDArray[np.int64] = np.empty(0, np.int64)
        self._vectors: NDArray[np.float32] = np.empty((0, dimensions), np.float32)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"Matrix({self._size} rows of {self.dimensions} dimensions, room for {len(self._keys)})"

    @property
    def keys(self) -> NDArray[np.int64]:
        """The rows' keys, a view."""
        return self._keys[: self._size]

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The rows, a view."""
        return self._vectors[: self._size]

    def reserve(self, count: int) -> None:
        """Make room for so many rows in all."""
        if count > len(self._keys):
            # In place where the allocator can: a copy of the whole matrix would double what it takes.
            self._keys.resize(count, refcheck=False)
            self._vectors.resize((count, self.dimensions), refcheck=False)

    def add(self, keys: Sequence[int], vectors: Sequence[bytes]) -> None:
        """Append rows."""
        if not keys:
            return
        end = self._size + len(keys)
        if end > len(self._keys):
            self.reserve(max(end, _FIRST_CAPACITY, len(self._keys) + len(self._keys) // 2))
        self._keys[self._size : end] = keys
        self._vectors[self._size : end] = np.frombuffer(b"".join(vectors), "<f4").reshape(-1, self.dimensions)
        self._size = end

    def remove(self, places: NDArray[np.intp]) -> None:
        """Remove the rows at these places."""
        end = self._size - len(places)
        holes = places[places < end]
        moved = np.setdiff1d(np.arange(end, self._size), places, assume_unique=True)
        self._keys[holes] = self._keys[moved]
        self._vectors[holes] = self._vectors[moved]
        self._size = end
