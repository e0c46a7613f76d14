"""The embedded index's reader: an exact search over a matrix in memory that follows the commits of every writer."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from headwater.database import Database
from headwater.indexes import ranking
from headwater.indexes.port import Hit, Stored, Torn, TornDocuments
from headwater.indexes.sqlite_follower import Follower
from headwater.indexes.sqlite_schema import (
    DOCUMENT_COLUMNS,
    SCHEMA,
    SLOT_BITS,
    Document,
    Unread,
    find_document,
    key_range,
    load_generation,
    read_document,
    unnamed_rows,
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
        after: bytes | None = b""
        torn: list[Torn] = []
        while after is not None:
            page = await self._database.read(
                lambda connection, start=after: self._page(connection, start, wanted)  # type: ignore[misc]  # mypy cannot infer a default
            )
            for stored in page.stored:
                yield stored
            torn += page.torn
            after = page.last
        if torn:
            raise TornDocuments(self._stream, torn)

    async def orphans(self) -> int:
        def work(connection: sqlite3.Connection) -> int:
            return len(unnamed_rows(connection, load_generation(connection, self._stream, self._number)[0]))

        return await self._database.read(work)

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
            scored = dict(zip(matrix.keys[places].tolist(), scores.tolist(), strict=True))
            found = _Found(connection, self._stream, scored)
            hits = list(islice(found.hits(), max(k, 0)))
            if len(hits) >= k or len(places) < count:
                return hits
            count *= 2  # a row is gone although nobody wrote: take the next best

    def _page(self, connection: sqlite3.Connection, after: bytes, wanted: list[bytes] | None) -> _Page:
        key, generation = load_generation(connection, self._stream, self._number)
        page = _Page([], [], None)
        rows = 0
        for identity, document in _documents(connection, key, after, wanted):
            page = page._replace(last=identity)
            if isinstance(document, Unread):
                page.torn.append(document.torn)
                continue
            page.stored.append(_stored(connection, document, 4 * generation.dimensions))
            rows += len(page.stored[-1].rows)
            if len(page.stored) >= _PAGE_DOCUMENTS or rows >= _PAGE_ROWS:
                break
        return page


class _Page(NamedTuple):
    """A part of a scan, and the last id in it: None, when there is nothing more."""

    stored: list[Stored]
    torn: list[Torn]
    last: bytes | None


class _Found:
    """Rows with their scores, to be made hits of, as far as they are needed."""

    def __init__(self, connection: sqlite3.Connection, stream: str, scores: dict[int, float]) -> None:
        self._connection = connection
        self._stream = stream
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
                    yield Hit(document.manifest, chunk, self._text(document, text)[chunk.skip :], -negative)

    def _document(self, key: int) -> Document | None:
        row = self._connection.execute(f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE key = ?", (key,))
        document = next((read_document(values) for values in row), None)
        if isinstance(document, Unread):
            raise TornDocuments(self._stream, [document.torn])
        return document

    def _text(self, document: Document, text: bytes) -> str:
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise TornDocuments(self._stream, [document.torn]) from None


_TEXT = "SELECT digest, occurrence, CAST(text AS BLOB) FROM index_chunk WHERE key = ?"


def _documents(
    connection: sqlite3.Connection, generation: int, after: bytes, wanted: list[bytes] | None
) -> Iterator[tuple[bytes, Document | Unread]]:
    """Yield the documents behind an id, with their ids, in the order of the ids' bytes."""
    if wanted is not None:
        for identity in wanted[bisect_right(wanted, after) :]:
            if found := find_document(connection, generation, identity.decode()):
                yield identity, found
        return
    rows = connection.execute(
        f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE generation = ? AND id > ? ORDER BY id LIMIT ?",
        (generation, after, _PAGE_DOCUMENTS),
    )
    yield from ((row[1], read_document(row)) for row in rows)


def _stored(connection: sqlite3.Connection, document: Document, width: int) -> Stored:
    rows = connection.execute(
        "SELECT digest, occurrence, CAST(text AS BLOB), vector FROM index_chunk "
        "WHERE key >= ? AND key < ? AND length(vector) = ?",
        (*key_range(document.key), width),
    )
    held: dict[tuple[bytes, int], tuple[str, bytes]] = {}
    for digest, occurrence, text, vector in rows:
        with suppress(UnicodeDecodeError):
            held[digest, occurrence] = (text.decode(), vector)
    return Stored(document.manifest, held)
