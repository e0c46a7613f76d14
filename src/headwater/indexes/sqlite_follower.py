"""How the embedded index's reader keeps up: it loads what was committed since it last looked, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headwater.indexes import rules
from headwater.indexes.matrix import Matrix
from headwater.indexes.port import TornDocuments
from headwater.indexes.sqlite_schema import (
    DOCUMENT_COLUMNS,
    SLOT_BITS,
    Document,
    Unread,
    key_range,
    load_generation,
    read_document,
)

_PAGE = 512
_FILTERS = 64
_decode_payload = msgspec.json.Decoder(dict[str, Any]).decode


class Follower:
    """The matrix of all rows of shown documents, as of the revision that was seen last.

    Revisions tell what changed: each write mints a later one, none is ever repeated. Only collected fences leave
    without a revision; `purged_revision` tells whether one of them was never seen. So one look at the generation's row
    tells whether anything happened, and is no dearer than asking the file for its data version, which changes with the
    log's commits too.
    """

    def __init__(self, stream: str, number: int) -> None:
        self._stream = stream
        self._number = number
        self._incarnation = ""
        self._generation = 0
        self._seen = 0
        self._filters: dict[bytes, set[int]] = {}
        self.matrix = Matrix(0)

    def __repr__(self) -> str:
        return f"Follower(revision {self._seen}, {self.matrix!r})"

    def follow(self, connection: sqlite3.Connection) -> None:
        """Take in what was committed. Call it in the transaction that is then read from."""
        row = connection.execute(
            "SELECT incarnation, next_revision, purged_revision FROM index_generation WHERE stream = ? AND number = ?",
            (self._stream, self._number),
        ).fetchone()
        if row is None or row[0] != self._incarnation or row[1] <= self._seen or row[2] > self._seen:
            self._start(connection)
        elif row[1] == self._seen + 1:
            return
        self._load(connection)

    def allowed(self, connection: sqlite3.Connection, where: Mapping[str, Any]) -> NDArray[np.bool_] | None:
        """Tell which rows belong to documents whose payload holds all of `where`, or None when all are allowed.

        The documents of the filters used last are kept, and follow the commits as the matrix does.
        """
        if not where:
            return None
        key = msgspec.json.encode(where, order="deterministic")
        documents = self._filters.pop(key, None)
        if documents is None:
            documents = self._matching(connection, where)
        self._filters[key] = documents  # the one used last stands last
        if len(self._filters) > _FILTERS:
            self._filters.pop(next(iter(self._filters)))
        return np.isin(self.matrix.keys >> SLOT_BITS, np.fromiter(documents, np.int64, len(documents)))

    def _matching(self, connection: sqlite3.Connection, where: Mapping[str, Any]) -> set[int]:
        rows = connection.execute(
            "SELECT key, CAST(payload AS BLOB) FROM index_document WHERE generation = ? AND state = 'live'",
            (self._generation,),
        )
        return {key for key, payload in rows if rules.matches(self._payload(connection, key, payload), where)}

    def _payload(self, connection: sqlite3.Connection, key: int, payload: bytes) -> Mapping[str, Any]:
        try:
            return _decode_payload(payload)
        except msgspec.DecodeError:
            # Damaged since it was loaded: read it whole, for that says which document it is.
            row = connection.execute(f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE key = ?", (key,))
            return self._read(row.fetchall())[0].manifest.payload

    def _start(self, connection: sqlite3.Connection) -> None:
        self._generation, generation = load_generation(connection, self._stream, self._number)
        self._incarnation = generation.incarnation
        self._seen = 0
        self._filters = {}
        self.matrix = Matrix(generation.dimensions)

    def _load(self, connection: sqlite3.Connection) -> None:
        while True:
            rows = connection.execute(
                f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE generation = ? AND revision > ? "
                "ORDER BY revision LIMIT ?",
                (self._generation, self._seen, _PAGE),
            ).fetchall()
            if not rows:
                break
            documents = self._read(rows)
            self._take(connection, documents)
            self._seen = documents[-1].manifest.revision
        (next_revision,) = connection.execute(
            "SELECT next_revision FROM index_generation WHERE key = ?", (self._generation,)
        ).fetchone()
        self._seen = next_revision - 1

    def _read(self, rows: list[tuple[Any, ...]]) -> list[Document]:
        read = [read_document(row) for row in rows]
        if torn := [it.torn for it in read if isinstance(it, Unread)]:
            raise TornDocuments(self._stream, torn)
        return [it for it in read if isinstance(it, Document)]

    def _take(self, connection: sqlite3.Connection, documents: list[Document]) -> None:
        """Bring the matrix from what it knew of these documents to what they are."""
        touched = np.array([document.key for document in documents], np.int64)
        places = np.flatnonzero(np.isin(self.matrix.keys >> SLOT_BITS, touched))
        known = self.matrix.keys[places]
        named = {key for document in documents if document.manifest.shown for key in document.row_keys()}
        self.matrix.remove(places[~np.isin(known, np.fromiter(named, np.int64, len(named)))])
        named.difference_update(known.tolist())
        self._fetch(connection, documents, named)
        self._refilter(documents)

    def _fetch(self, connection: sqlite3.Connection, documents: list[Document], wanted: set[int]) -> None:
        width = 4 * self.matrix.dimensions
        keys: list[int] = []
        vectors: list[bytes] = []
        for document in documents:
            for key, vector in connection.execute(
                "SELECT key, vector FROM index_chunk WHERE key >= ? AND key < ?", key_range(document.key)
            ):
                if key in wanted:
                    if len(vector) != width:
                        raise TornDocuments(self._stream, [document.torn])
                    keys.append(key)
                    vectors.append(vector)
        self.matrix.add(keys, vectors)

    def _refilter(self, documents: list[Document]) -> None:
        for encoded, matching in self._filters.items():
            where = msgspec.json.decode(encoded)
            matching.difference_update(document.key for document in documents)
            matching.update(document.key for document in documents if rules.matches(document.manifest.payload, where))
