"""Export: what an index generation holds, a line a document. For people, scripts and whoever checks us."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from headwater.errors import Halt
from headwater.indexes.port import IndexReader, Stored
from headwater.model.change import digest
from headwater.model.manifest import ChunkRef, Manifest
from headwater.retrieval.search import chunk_id


async def export(reader: IndexReader, *, deleted: bool = False, vectors: bool = False) -> AsyncIterator[dict[str, Any]]:
    """Yield the shown documents in the order of their ids' bytes; with `deleted` the fences too, `vectors` as floats.

    Raise Halt("torn-document") when the index lacks a row that a manifest names: half a document is never handed out.
    """
    async for stored in reader.scan():
        manifest = stored.manifest
        if manifest.shown:
            yield _line(manifest, [_chunk(stored, chunk, vectors=vectors) for chunk in manifest.chunks])
        elif deleted and manifest.state.fence:
            yield _line(manifest, [])


def _line(manifest: Manifest, chunks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": manifest.id,
        "version": str(manifest.version),
        "deleted": manifest.state.fence,
        "payload": manifest.payload,
        "chunks": chunks,
    }


def _chunk(stored: Stored, chunk: ChunkRef, *, vectors: bool) -> dict[str, Any]:
    row = stored.rows.get((chunk.digest, chunk.occurrence))
    if row is None:
        raise Halt(
            "torn-document",
            f"the index lacks the row of chunk {chunk_id(chunk)} of a document at version {stored.manifest.version}",
            "Run `headwater verify STREAM` to see which documents are concerned, and `--repair` to mend them",
        )
    text, vector = row
    own = text[chunk.skip :]
    shape: dict[str, Any] = {"id": chunk_id(chunk), "text": own, "digest": digest(own).hex()}
    if vectors:
        shape["vector"] = np.frombuffer(vector, "<f4").tolist()
    return shape
