"""A batch interface in memory against the contract of the port."""

from __future__ import annotations

from headwater.clock import SystemClock
from headwater.embedding.providers.hash import HashEmbedder
from headwater.testing.batches import MemoryBatches
from headwater.testing.batches_contract import BatchesContract, Make


class Embedder(HashEmbedder):
    def __init__(self, batches: MemoryBatches) -> None:
        super().__init__()
        self._batches = batches

    def batches(self) -> MemoryBatches:
        return self._batches


class TestMemoryBatches(BatchesContract):
    poison = "a text that nobody may see"

    def service(self, *, slow: bool, full: bool) -> Make:
        batches = MemoryBatches(HashEmbedder(), SystemClock())
        batches.takes_s = 3600 if slow else 0.05
        batches.room = 0 if full else None
        batches.refused = {self.poison: "it is refused"}
        return lambda: Embedder(batches)
