"""The query path: embed the query with the model that the index was built with, and search its serving generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.embedding.answers import check
from headwater.embedding.port import Description, Embedder, Purpose
from headwater.errors import Halt
from headwater.indexes.port import Hit, IndexReader
from headwater.model.manifest import ChunkRef


class Retriever:
    """Searches one index generation for texts."""

    def __init__(self, reader: IndexReader, embedder: Embedder) -> None:
        self._reader = reader
        self._embedder = embedder

    def __repr__(self) -> str:
        return f"Retriever({self._reader!r}, {self._embedder!r})"

    async def search(self, query: str, k: int, where: Mapping[str, Any]) -> list[Hit]:
        """Return the k best chunks of shown documents whose payload holds all of `where`, the best first.

        Raise Halt("model-drift") when the index was built with another model (G6), Reject when the model cannot embed
        the query, Retry when the model or the index is away.
        """
        await self._embedder.open()
        model = self._embedder.describe()
        await self._same_model(model)
        answer = await self._embedder.embed([query], Purpose.QUERY)
        (vector,) = check(answer, 1, model.name, model.dimensions)
        return await self._reader.search(vector, k, where)

    async def _same_model(self, model: Description) -> None:
        # Asked anew for each search: another process may have made or switched the generation meanwhile.
        built = await self._reader.generation()
        if built.fingerprints.model != model.fingerprint:
            raise Halt(
                "model-drift",
                f"index generation {built.number} of stream {built.stream!r} was built with the model "
                f"{built.model!r}, and the configuration now names {model.name!r} with another fingerprint",
                "Their vectors cannot be compared. Name the model that the index was built with in `recipe.embed`, "
                "or build a new index",
            )


def chunk_id(chunk: ChunkRef) -> str:
    """Name a chunk within its document, the same in every output: its text's digest, shortened, and its occurrence."""
    return f"{chunk.digest.hex()[:32]}.{chunk.occurrence}"


def hit_shape(hit: Hit) -> dict[str, Any]:
    """Return a hit as `search --json` prints it."""
    return {
        "id": hit.manifest.id,
        "chunk": chunk_id(hit.chunk),
        "text": hit.text,
        "score": hit.score,
        "version": str(hit.manifest.version),
        "payload": hit.manifest.payload,
    }
