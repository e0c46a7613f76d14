"""The embedded index's reader: an exact search over a matrix in memory that follows the commits of every writer."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from headwater.database import Database
from headwater.indexes import ranking
from headwater.indexes.port import Hit, Stored
from headwater.indexes.sqlite_follower import Follower
from headwater.indexes.sqlite_schema import (
    DOCUMENT_COLUMNS,
    SCHEMA,
    SLOT_BITS,
    Document,
    find_document,
    key_range,
    load_generation,
    read_document,
)
from headwater.model.generation import Generation

#: A page of a scan ends with the document that brings it to so many documents or rows.
_PAGE_DOCUMENTS = 64
_PAGE_ROWS = 256


class SqliteIndexReader:
    """Reads one index generation in a SQLite file.

    A search first takes in what was committed since the last one, then ranks and fetches in the same transaction: what
    it returns is one moment of the index, at least as late as the call.
    """

    def __init__(self, path: Path, stream: str, number: int) -> None:
        self._database = Database(path, SCHEMA, create=False, secure_delete=True)
        self._stream = stream
        self._number = number
        self._follower = Follower(stream, number)

    def __repr__(self) -> str:
        return f"SqliteIndexReader({str(self._database.path)!r}, {self._stream!r}, {self._number}, {self._follower!r})"

    async def search(self, vector: bytes, k: int, where: Mapping[str, Any]) -> list[Hit]:
        return await self._database.read(lambda connection: self._search(connection, vector, k, where))

    async def scan(self, ids: Sequence[str] | None = None) -> AsyncIterator[Stored]:
        """One read transaction a page, so that a long scan holds nobody's write-ahead log."""
        wanted = None if ids is None else sorted({identity.encode() for identity in ids})
        after = b""
        while True:
            page = await self._database.read(
                lambda connection, start=after: self._page(connection, start, wanted)  # type: ignore[misc]  # mypy cannot infer a default
            )
            if not page:
                return
            for stored in page:
                yield stored
            after = page[-1].manifest.id.encode()

    async def orphans(self) -> int:
        return await self._database.read(lambda connection: _orphans(connection, self._stream, self._number))

    async def generation(self) -> Generation:
        return await self._database.read(
            lambda connection: load_generation(connection, self._stream, self._number)[1],
        )

    async def close(self) -> None:
        await self._database.close()

    def _search(self, connection: sqlite3.Connection, vector: bytes, k: int, where: Mapping[str, Any]) -> list[Hit]:
        self._follower.follow(connection)
        matrix = self._follower.matrix
        query = ranking.query_vector(vector, matrix.dimensions)
        allowed = self._follower.allowed(connection, where)
        count = k
        while True:
            places, scores = ranking.nearest(matrix.vectors, query, count, allowed)
            found = _Found(connection, dict(zip(matrix.keys[places].tolist(), scores.tolist(), strict=True)))
            hits = list(islice(found.hits(), max(k, 0)))
            if len(hits) >= k or len(places) < count:
                return hits
            count *= 2  # a row is gone although nobody wrote: take the next best

    def _page(self, connection: sqlite3.Connection, after: bytes, wanted: list[bytes] | None) -> list[Stored]:
        key, _ = load_generation(connection, self._stream, self._number)
        page: list[Stored] = []
        rows = 0
        for document in _documents(connection, key, after, wanted):
            page.append(_stored(connection, document))
            rows += len(page[-1].rows)
            if len(page) >= _PAGE_DOCUMENTS or rows >= _PAGE_ROWS:
                break
        return page


class _Found:
    """Rows with their scores, to be made hits of, as far as they are needed."""

    def __init__(self, connection: sqlite3.Connection, scores: dict[int, float]) -> None:
        self._connection = connection
        self._scores = scores

    def hits(self) -> Iterator[Hit]:
        """Yield the hits that their manifests name, the best first, ties by document and place."""
        ranked = []
        for key in {row >> SLOT_BITS for row in self._scores}:
            document = self._document(key)
            if document is not None and document.manifest.shown:
                identity = document.manifest.id.encode()
                ranked += [
                    (-self._scores[row], identity, place, row, document)
                    for place, row in enumerate(document.row_keys())
                    if row in self._scores
                ]
        for negative, _, place, row, document in sorted(ranked, key=lambda entry: entry[:3]):
            chunk = document.manifest.chunks[place]
            for digest, occurrence, text in self._connection.execute(_TEXT, (row,)):
                if (digest, occurrence) == (chunk.digest, chunk.occurrence):
                    yield Hit(document.manifest, chunk, text[chunk.skip :], -negative)

    def _document(self, key: int) -> Document | None:
        row = self._connection.execute(f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE key = ?", (key,))
        return next((read_document(values) for values in row), None)


_TEXT = "SELECT digest, occurrence, text FROM index_chunk WHERE key = ?"


def _documents(
    connection: sqlite3.Connection, generation: int, after: bytes, wanted: list[bytes] | None
) -> Iterator[Document]:
    """Yield the documents behind an id, in the order of the ids' bytes."""
    if wanted is not None:
        for identity in wanted[bisect_right(wanted, after) :]:
            if found := find_document(connection, generation, identity.decode()):
                yield found
        return
    rows = connection.execute(
        f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE generation = ? AND id > ? ORDER BY id LIMIT ?",
        (generation, after, _PAGE_DOCUMENTS),
    )
    yield from map(read_document, rows)


def _stored(connection: sqlite3.Connection, document: Document) -> Stored:
    rows = connection.execute(
        "SELECT digest, occurrence, text, vector FROM index_chunk WHERE key >= ? AND key < ?", key_range(document.key)
    )
    return Stored(
        document.manifest,
        {(digest, occurrence): (text, vector) for digest, occurrence, text, vector in rows},
    )


def _orphans(connection: sqlite3.Connection, stream: str, number: int) -> int:
    key, _ = load_generation(connection, stream, number)
    (count,) = connection.execute(
        "SELECT count(*) FROM index_chunk WHERE key >> 32 NOT IN (SELECT key FROM index_document)"
    ).fetchone()
    documents = connection.execute(f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE generation = ?", (key,))
    for row in documents:
        document = read_document(row)
        keys = connection.execute(
            "SELECT key FROM index_chunk WHERE key >= ? AND key < ?", key_range(document.key)
        ).fetchall()
        count += len({key for (key,) in keys}.difference(document.row_keys()))
    return int(count)
