"""How the embedded index carries out a batch of writes: everything inside one write transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from headwater.indexes import rules
from headwater.indexes.sqlite_schema import (
    SLOT_BITS,
    Document,
    batches,
    find_documents,
    key_range,
    load_generation,
    marks,
    save_positions,
    save_seen,
    write_document,
)
from headwater.model.fence import admit, succeed
from headwater.model.generation import Generation, Position
from headwater.model.manifest import Answer, Cause, Manifest, Mark, Verdict, Write


def apply(
    connection: sqlite3.Connection,
    stream: str,
    number: int,
    writes: Sequence[Write | Mark],
    positions: Sequence[Position],
) -> list[Answer]:
    """Judge every write against what is stored at this moment, and carry out the admitted ones."""
    key, generation = load_generation(connection, stream, number)
    rules.check_call(writes, generation.dimensions)
    mending = {write.id for write in writes if _mends(write)}
    stored = find_documents(connection, key, [write.id for write in writes], mending)
    batch = _Batch(connection, key, generation, stored)
    answers = [batch.take(write) for write in writes]
    batch.flush()
    save_seen(connection, key, rules.sight(generation.seen, batch.applied, generation.log_epoch))
    if positions and rules.may_settle(answers):
        save_positions(connection, key, rules.advance(generation.positions, positions))
    return answers


class _Batch:
    """The statements' values of many documents, gathered so that each statement runs once."""

    def __init__(
        self, connection: sqlite3.Connection, key: int, generation: Generation, stored: Mapping[str, Document]
    ) -> None:
        self._connection = connection
        self._stored = stored
        self._key = key
        self._generation = generation
        self._next_revision = generation.next_revision
        self._next_document: int | None = None
        self._documents: list[tuple[Any, ...]] = []
        self._added: list[tuple[int, bytes, int, str, bytes]] = []
        self._removed: list[int] = []
        self.applied: list[Manifest] = []  # those that came from a place in the log

    def take(self, write: Write | Mark) -> Answer:
        stored = self._stored.get(write.id)
        answer = admit(write, stored.manifest if stored else None, self._generation)
        if answer.verdict is not Verdict.APPLIED:
            return answer
        manifest = succeed(write, stored.manifest if stored else None, self._next_revision)
        self._next_revision += 1
        if stored is None:
            stored = Document(self._new_key(), manifest, (), 0)
            held: dict[rules.Name, int] = {}
        else:
            held = self._held(stored, write)
        document = stored._replace(manifest=manifest)
        if isinstance(write, Write):
            document = self._place(document, write, held)
            self.applied.append(manifest)
        self._documents.append(write_document(document, self._key))
        return msgspec.structs.replace(answer, revision=manifest.revision)

    def flush(self) -> None:
        for keys in batches(self._removed):
            self._connection.execute(f"DELETE FROM index_chunk WHERE key IN ({marks(len(keys))})", keys)
        self._insert("INSERT INTO index_chunk VALUES ", self._added)
        self._insert(
            "REPLACE INTO index_document (key, generation, id, revision, epoch, source_order, partition, place, state, "
            "payload, chunks, next_slot, extra) VALUES ",
            self._documents,
        )
        if self._next_revision != self._generation.next_revision:
            self._connection.execute(
                "UPDATE index_generation SET next_revision = ? WHERE key = ?", (self._next_revision, self._key)
            )

    def _insert(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        for some in batches(rows):
            values = ", ".join([f"({marks(len(some[0]))})"] * len(some))
            self._connection.execute(statement + values, [value for row in some for value in row])

    def _new_key(self) -> int:
        if self._next_document is None:
            # Rows without a document are never there, unless somebody else wrote into the file: step over them.
            last, last_row = self._connection.execute(
                "SELECT (SELECT coalesce(max(key), 0) FROM index_document), "
                "(SELECT coalesce(max(key), 0) FROM index_chunk)"
            ).fetchone()
            self._next_document = max(last, last_row >> SLOT_BITS) + 1
        self._next_document += 1
        return self._next_document - 1

    def _held(self, stored: Document, write: Write | Mark) -> dict[rules.Name, int]:
        """Return the stored rows' slots. A repair looks at the rows themselves, everything else trusts the manifest."""
        if _mends(write):
            return self._found(stored)
        return {
            (chunk.digest, chunk.occurrence): slot
            for slot, chunk in zip(stored.slots, stored.manifest.chunks, strict=True)
        }

    def _found(self, stored: Document) -> dict[rules.Name, int]:
        rows = self._connection.execute(
            "SELECT digest, occurrence, key FROM index_chunk WHERE key >= ? AND key < ? ORDER BY key",
            key_range(stored.key),
        ).fetchall()
        last = {(digest, occurrence): key for digest, occurrence, key in rows}
        kept = set(last.values())
        self._removed += [key for _, _, key in rows if key not in kept]
        low, _ = key_range(stored.key)
        return {name: key - low for name, key in last.items()}

    def _place(self, document: Document, write: Write, held: dict[rules.Name, int]) -> Document:
        """Give new rows slots, keep the named ones, remove all others."""
        rules.check_whole(write, held)
        low, _ = key_range(document.key)
        named = rules.names(write.manifest)
        # A row that a repair found may lie beyond, if somebody else put it there.
        next_slot = max(document.next_slot, *(slot + 1 for slot in held.values()), 0)
        slots: dict[rules.Name, int] = {}
        for row in write.rows:
            name = (row.digest, row.occurrence)
            if name in named and name not in slots:
                slots[name] = next_slot
                self._added.append((low | next_slot, row.digest, row.occurrence, row.text, row.vector))
                next_slot += 1
        # A row that is brought although it is held replaces what is held.
        self._removed += [low | slot for name, slot in held.items() if name in slots or name not in named]
        slots |= {name: slot for name, slot in held.items() if name in named and name not in slots}
        chosen = tuple(slots[chunk.digest, chunk.occurrence] for chunk in document.manifest.chunks)
        return document._replace(slots=chosen, next_slot=next_slot)


def _mends(write: Write | Mark) -> bool:
    return isinstance(write, Write) and write.manifest.cause is Cause.REPAIR


def manifests(connection: sqlite3.Connection, generation: int, ids: Iterable[str]) -> dict[str, Manifest]:
    """Return the manifests of those documents that have one."""
    found = find_documents(connection, generation, ids)
    return {identity: document.manifest for identity, document in found.items()}
