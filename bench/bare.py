"""The baseline: what a prototype does. The same chunker and the same model, no log, no versions, no guarantees."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from headwater.embedding.port import Embedder
from headwater.model.change import Change, Op
from headwater.model.document import Recipe
from headwater.model.version import Place, Version

BATCH = 64


async def load(
    path: Path, documents: Iterable[tuple[str, str]], recipe: Recipe, embedder: Embedder
) -> tuple[float, int]:
    """Chunk, embed and store all documents; return seconds and chunks."""
    began = time.perf_counter()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE chunk (document TEXT, number INTEGER, text TEXT, vector BLOB)")
    count = 0
    batch: list[tuple[str, int, str]] = []
    limit = embedder.describe().max_texts
    for name, text in documents:
        pieces = recipe.derive(_change(name, text)).pieces
        batch += [(name, number, piece.text) for number, piece in enumerate(pieces)]
        while len(batch) >= limit:
            count += await _store(connection, embedder, batch[:limit])
            del batch[:limit]
    if batch:
        count += await _store(connection, embedder, batch)
    connection.close()
    return time.perf_counter() - began, count


async def _store(connection: sqlite3.Connection, embedder: Embedder, batch: list[tuple[str, int, str]]) -> int:
    vectors = (await embedder.embed([text for _, _, text in batch])).vectors
    rows = zip(batch, np.ascontiguousarray(vectors, dtype="<f4"), strict=True)
    with connection:
        connection.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?)", [(*it, row.tobytes()) for it, row in rows])
    return len(batch)


def _change(name: str, text: str) -> Change:
    return Change(
        id=name,
        op=Op.UPSERT,
        version=Version(1, 0, 0, 0),
        place=Place(0, 0),
        body={"text": text},
        digest=b"",
        time_us=0,
        appended_us=0,
        size_bytes=len(text),
    )
