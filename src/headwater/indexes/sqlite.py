"""The embedded index: writer and catalogue over one SQLite file. Its reader is in `sqlite_reader`.

Each holds a connection of its own. Every write is one transaction, synced when it is acknowledged; what is deleted is
overwritten with zeros in the file, in the write-ahead log when that is next checkpointed and truncated.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from headwater.database import LARGE_CACHE_KIB, Database
from headwater.indexes import rules, sqlite_apply
from headwater.indexes.port import Capabilities
from headwater.indexes.sqlite_reader import SqliteIndexReader
from headwater.indexes.sqlite_schema import (
    DOCUMENT_COLUMNS,
    GENERATION_COLUMNS,
    SCHEMA,
    Document,
    batches,
    insert_generation,
    load_generation,
    marks,
    read_document,
    read_generation,
    save_floors,
    unnamed_rows,
)
from headwater.model.generation import Floor, Generation, Position
from headwater.model.manifest import Answer, Manifest, Mark, Write

__all__ = ["CAPABILITIES", "SqliteCatalogue", "SqliteIndexReader", "SqliteIndexWriter"]

CAPABILITIES = Capabilities(
    fenced=True,
    atomic_document=True,
    reads_own_writes=True,
    durable_on_ack=True,
    native_filter=True,
    purges=True,
    atomic_switch=False,
)


class SqliteIndexWriter:
    """Writes one index generation in a SQLite file. Any number of processes may do so at once."""

    def __init__(self, path: Path, stream: str, number: int) -> None:
        self._database = Database(path, SCHEMA, create=False, secure_delete=True, cache_kib=LARGE_CACHE_KIB)
        self._stream = stream
        self._number = number

    def __repr__(self) -> str:
        return f"SqliteIndexWriter({str(self._database.path)!r}, {self._stream!r}, {self._number})"

    async def manifests(self, ids: Sequence[str]) -> dict[str, Manifest]:
        def work(connection: sqlite3.Connection) -> dict[str, Manifest]:
            key, _ = load_generation(connection, self._stream, self._number)
            return sqlite_apply.manifests(connection, key, ids)

        return await self._database.read(work)

    async def vectors(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        def work(connection: sqlite3.Connection) -> dict[bytes, bytes]:
            _, generation = load_generation(connection, self._stream, self._number)
            owner = (self._stream, generation.fingerprints.model)
            found: dict[bytes, bytes] = {}
            for some in batches(digests):
                starts = [digest[:8] for digest in some]
                found.update(connection.execute(_VECTORS.format(marks(len(some))), (*starts, *owner)))
            return {digest: found[digest] for digest in digests if digest in found}

        return await self._database.read(work)

    async def apply(self, writes: Sequence[Write | Mark], positions: Sequence[Position] = ()) -> list[Answer]:
        return await self._database.write(
            lambda connection: sqlite_apply.apply(connection, self._stream, self._number, writes, positions)
        )

    async def purge(self, floors: Sequence[Floor]) -> int:
        # What no manifest names is looked for while others may write, and once more, if there is any, before it goes.
        littered = await self._database.read(lambda connection: bool(self._unnamed(connection)))

        def work(connection: sqlite3.Connection) -> int:
            if littered:
                rows = [(key,) for key in self._unnamed(connection)]
                connection.executemany("DELETE FROM index_chunk WHERE key = ?", rows)
            return _purge(connection, self._stream, self._number, floors)

        return await self._database.write(work)

    def _unnamed(self, connection: sqlite3.Connection) -> list[int]:
        return unnamed_rows(connection, load_generation(connection, self._stream, self._number)[0])

    async def generation(self) -> Generation:
        return await self._database.read(
            lambda connection: load_generation(connection, self._stream, self._number)[1],
        )

    async def close(self) -> None:
        await self._database.close()


class SqliteCatalogue:
    """The index generations in a SQLite file, which is made when it is not there."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, SCHEMA, secure_delete=True)

    def __repr__(self) -> str:
        return f"SqliteCatalogue({str(self._database.path)!r})"

    async def generations(self, stream: str) -> list[Generation]:
        def work(connection: sqlite3.Connection) -> list[Generation]:
            rows = connection.execute(
                f"SELECT {GENERATION_COLUMNS} FROM index_generation WHERE stream = ? ORDER BY number", (stream,)
            ).fetchall()
            return [read_generation(connection, row) for row in rows]

        return await self._database.read(work)

    async def create(self, generation: Generation) -> bool:
        return await self._database.write(lambda connection: insert_generation(connection, generation))

    async def adopt(self, stream: str, number: int, log_identity: str, log_epoch: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            key, _ = load_generation(connection, stream, number)
            connection.execute(
                "UPDATE index_generation SET log_identity = ?, log_epoch = ? WHERE key = ? AND log_epoch <= ?",
                (log_identity, log_epoch, key, log_epoch),
            )

        await self._database.write(work)

    async def keep_probes(self, stream: str, number: int, probes: bytes) -> bytes:
        def work(connection: sqlite3.Connection) -> bytes:
            key, _ = load_generation(connection, stream, number)
            connection.execute("INSERT INTO index_probes VALUES (?, ?) ON CONFLICT DO NOTHING", (key, probes))
            (kept,) = connection.execute("SELECT vectors FROM index_probes WHERE generation = ?", (key,)).fetchone()
            return bytes(kept)

        return await self._database.write(work)

    async def probes(self, stream: str, number: int) -> bytes:
        row = await self._database.read(lambda connection: connection.execute(_KEPT, (stream, number)).fetchone())
        return bytes(row[0]) if row else b""

    async def close(self) -> None:
        await self._database.close()


_KEPT = """SELECT vectors FROM index_probes JOIN index_generation AS made ON made.key = index_probes.generation
    WHERE made.stream = ? AND made.number = ?"""

_VECTORS = """SELECT chunk.digest, chunk.vector FROM index_chunk AS chunk
    JOIN index_document AS document ON document.key = chunk.key >> 32
    JOIN index_generation AS generation ON generation.key = document.generation
    WHERE substr(chunk.digest, 1, 8) IN ({})
        AND generation.stream = ? AND generation.model_fingerprint = ? GROUP BY chunk.digest"""

_FENCES = f"""SELECT {DOCUMENT_COLUMNS} FROM index_document
    WHERE generation = ? AND state IN ('deleted', 'filtered') AND epoch = ? AND partition = ? AND place < ?"""


def _purge(connection: sqlite3.Connection, stream: str, number: int, floors: Sequence[Floor]) -> int:
    key, generation = load_generation(connection, stream, number)
    lifted = rules.lift(generation.floors, floors)
    save_floors(connection, key, lifted)
    collected: list[tuple[int]] = []
    purged_revision = generation.purged_revision
    for floor in lifted:
        for row in connection.execute(_FENCES, (key, floor.epoch, floor.partition, floor.offset)):
            document = read_document(row)
            if isinstance(document, Document) and rules.collectable(document.manifest, lifted):
                collected.append((document.key,))
                purged_revision = max(purged_revision, document.manifest.revision)
    connection.executemany("DELETE FROM index_document WHERE key = ?", collected)
    connection.execute("UPDATE index_generation SET purged_revision = ? WHERE key = ?", (purged_revision, key))
    return len(collected)
