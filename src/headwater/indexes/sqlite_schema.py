"""The embedded index's tables, and how manifests and generations are written into them and read again.

A chunk's key is its document's key and a slot: `document << 32 | slot`. So a document's rows lie side by side, and need
no index to be found; a slot is never used twice by a document, so a reader that follows tells new rows by their keys. A
manifest's `chunks` hold the slots beside the references.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from headwater.database import Schema
from headwater.errors import Unreachable
from headwater.indexes.port import Torn, TornDocuments
from headwater.model.document import Fingerprints
from headwater.model.generation import Floor, Generation, GenerationState, Position, Seen
from headwater.model.manifest import Cap, Cause, ChunkRef, Manifest, Outcome, State
from headwater.model.version import BEFORE_ALL, Place, Version

T = TypeVar("T")

SLOT_BITS = 32

#: Values in one statement.
BATCH_VALUES = 250

_PROBES = "CREATE TABLE index_probes (generation INTEGER PRIMARY KEY, vectors BLOB NOT NULL) STRICT"

SCHEMA = Schema(
    part="index",
    version=2,
    statements=(
        """CREATE TABLE index_generation (
            key INTEGER PRIMARY KEY, stream TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL,
            recipe INTEGER NOT NULL, least_recipe INTEGER NOT NULL, freeze TEXT, incarnation TEXT NOT NULL,
            text_fingerprint TEXT NOT NULL, chunk_fingerprint TEXT NOT NULL, model_fingerprint TEXT NOT NULL,
            payload_fingerprint TEXT NOT NULL, model TEXT NOT NULL, dimensions INTEGER NOT NULL,
            log_identity TEXT NOT NULL, log_epoch INTEGER NOT NULL, created_us INTEGER NOT NULL,
            next_revision INTEGER NOT NULL, purged_revision INTEGER NOT NULL, UNIQUE (stream, number)) STRICT""",
        """CREATE TABLE index_position (
            generation INTEGER NOT NULL, partition INTEGER NOT NULL, epoch INTEGER NOT NULL, next INTEGER NOT NULL,
            mark BLOB NOT NULL, PRIMARY KEY (generation, partition)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE index_seen (
            generation INTEGER NOT NULL, partition INTEGER NOT NULL, epoch INTEGER NOT NULL, place INTEGER NOT NULL,
            witness BLOB NOT NULL, PRIMARY KEY (generation, partition)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE index_floor (
            generation INTEGER NOT NULL, epoch INTEGER NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,
            PRIMARY KEY (generation, epoch, partition)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE index_document (
            key INTEGER PRIMARY KEY, generation INTEGER NOT NULL, id BLOB NOT NULL, revision INTEGER NOT NULL,
            epoch INTEGER NOT NULL, source_order INTEGER NOT NULL, partition INTEGER NOT NULL, place INTEGER NOT NULL,
            state TEXT NOT NULL, payload TEXT NOT NULL, chunks BLOB NOT NULL, next_slot INTEGER NOT NULL,
            extra BLOB NOT NULL, UNIQUE (generation, id)) STRICT""",
        # For readers that follow, and for the collection of fences.
        "CREATE INDEX index_document_revision ON index_document (generation, revision)",
        """CREATE INDEX index_document_fence ON index_document (generation, epoch, partition, place)
            WHERE state IN ('deleted', 'filtered')""",
        """CREATE TABLE index_chunk (
            key INTEGER PRIMARY KEY, digest BLOB NOT NULL, occurrence INTEGER NOT NULL, text TEXT NOT NULL,
            vector BLOB NOT NULL) STRICT""",
        # For the reuse of vectors. Eight bytes of a digest tell texts apart well enough to find a row.
        "CREATE INDEX index_chunk_digest ON index_chunk (substr(digest, 1, 8))",
        # Apart from the generation's row, which every apply reads: they are larger than all the rest of it.
        _PROBES,
    ),
    upgrades={1: (_PROBES,)},
)

GENERATION_COLUMNS = (
    "key, stream, number, state, recipe, least_recipe, freeze, incarnation, text_fingerprint, chunk_fingerprint, "
    "model_fingerprint, payload_fingerprint, model, dimensions, log_identity, log_epoch, created_us, next_revision, "
    "purged_revision"
)
#: Text as bytes, so that what is no text fails where it is read as such, not in the driver.
DOCUMENT_COLUMNS = (
    "key, id, revision, epoch, source_order, partition, place, CAST(state AS BLOB), CAST(payload AS BLOB), chunks, "
    "next_slot, extra"
)


class Slotted(NamedTuple):
    """A chunk's reference and the slot of its row."""

    slot: int
    chunk: ChunkRef


class Extra(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What of a manifest is never asked for by itself."""

    place: Place
    recipe: int
    outcome: Outcome
    outcome_us: int
    cause: Cause
    body_digest: bytes
    payload_digest: bytes
    access_digest: bytes
    tags: tuple[str, ...] | None
    cap: Cap | None


_STATES = frozenset(GenerationState)
_encode = msgspec.msgpack.Encoder().encode
_decode_extra = msgspec.msgpack.Decoder(Extra).decode
_decode_chunks = msgspec.msgpack.Decoder(list[Slotted]).decode
_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder(dict[str, Any]).decode


class Document(NamedTuple):
    """One document's row in the index."""

    key: int
    manifest: Manifest
    slots: tuple[int, ...]
    next_slot: int

    @property
    def torn(self) -> Torn:
        """What it is called when its rows turn out to be damaged."""
        return Torn(self.manifest.id, self.manifest.revision, self.manifest.version)

    def row_keys(self) -> list[int]:
        """Return the keys of the rows that its manifest names, in its order."""
        return [self.key << SLOT_BITS | slot for slot in self.slots]


class Unread(NamedTuple):
    """A document's row whose manifest cannot be read."""

    key: int
    torn: Torn
    cap: Cap | None
    next_slot: int

    def absent(self) -> Document:
        """Return what a repair finds in its place: nothing was ever applied, yet there is a revision, perhaps a cap."""
        manifest = Manifest(
            id=self.torn.id,
            version=BEFORE_ALL,
            place=Place(0, -1),
            recipe=0,
            state=State.ABSENT,
            outcome=Outcome.DEAD,
            outcome_us=0,
            body_digest=b"",
            revision=self.torn.revision,
            cap=self.cap,
        )
        return Document(self.key, manifest, (), self.next_slot)


def read_document(row: tuple[Any, ...]) -> Document | Unread:
    """Read a row of DOCUMENT_COLUMNS. The one place where a damaged one is recognised."""
    try:
        return _read(row)
    except (msgspec.DecodeError, ValueError):
        return _unread(row)


def _unread(row: tuple[Any, ...]) -> Unread:
    key, identity, revision, epoch, order, partition, offset, *_, next_slot, extra = row
    try:
        cap = _decode_extra(extra).cap
    except (msgspec.DecodeError, ValueError):
        cap = None
    torn = Torn(identity.decode(errors="backslashreplace"), revision, Version(epoch, order, partition, offset))
    return Unread(key, torn, cap, next_slot)


def _read(row: tuple[Any, ...]) -> Document:
    key, identity, revision, epoch, order, partition, offset, state, payload, chunks, next_slot, extra = row
    rest = _decode_extra(extra)
    slotted = _decode_chunks(chunks)
    manifest = Manifest(
        id=identity.decode(),
        version=Version(epoch, order, partition, offset),
        place=rest.place,
        recipe=rest.recipe,
        state=State(state.decode()),
        outcome=rest.outcome,
        outcome_us=rest.outcome_us,
        body_digest=rest.body_digest,
        revision=revision,
        cause=rest.cause,
        payload_digest=rest.payload_digest,
        access_digest=rest.access_digest,
        payload=_decode_json(payload),
        tags=rest.tags,
        cap=rest.cap,
        chunks=tuple(entry.chunk for entry in slotted),
    )
    return Document(key, manifest, tuple(entry.slot for entry in slotted), next_slot)


def write_document(document: Document, generation: int) -> tuple[Any, ...]:
    """Make the values of an index_document row."""
    key, manifest, slots, next_slot = document
    extra = Extra(
        manifest.place,
        manifest.recipe,
        manifest.outcome,
        manifest.outcome_us,
        manifest.cause,
        manifest.body_digest,
        manifest.payload_digest,
        manifest.access_digest,
        manifest.tags,
        manifest.cap,
    )
    return (
        key,
        generation,
        manifest.id.encode(),
        manifest.revision,
        *msgspec.structs.astuple(manifest.version),
        manifest.state.value,
        _encode_json(manifest.payload).decode(),
        _encode(list(zip(slots, manifest.chunks, strict=True))),
        next_slot,
        _encode(extra),
    )


def find_generation(connection: sqlite3.Connection, stream: str, number: int) -> tuple[int, Generation] | None:
    """Return a generation's key and row, with its positions and floors."""
    row = connection.execute(
        f"SELECT {GENERATION_COLUMNS} FROM index_generation WHERE stream = ? AND number = ?", (stream, number)
    ).fetchone()
    return (row[0], read_generation(connection, row)) if row else None


def load_generation(connection: sqlite3.Connection, stream: str, number: int) -> tuple[int, Generation]:
    """Return a generation's key and row, or say that it is not there."""
    found = find_generation(connection, stream, number)
    if found is None:
        raise Unreachable(
            "the index",
            f"it has no index generation {number} of stream {stream!r}",
            "Run `headwater run` first, which makes it",
            code="nothing-yet",
        )
    return found


def read_generation(connection: sqlite3.Connection, row: tuple[Any, ...]) -> Generation:
    """Read a row of GENERATION_COLUMNS, and what belongs to it."""
    key, stream, number, state, recipe, least_recipe, freeze, incarnation, text, chunk, model, payload = row[:12]
    positions = connection.execute(
        "SELECT partition, epoch, next, mark FROM index_position WHERE generation = ? ORDER BY partition", (key,)
    )
    seen = connection.execute(
        "SELECT partition, epoch, place, witness FROM index_seen WHERE generation = ? ORDER BY partition", (key,)
    )
    floors = connection.execute(
        "SELECT epoch, partition, next FROM index_floor WHERE generation = ? ORDER BY epoch, partition", (key,)
    )
    if state not in _STATES:
        raise Unreachable(
            "the index",
            f"the row of index generation {number} of stream {stream!r} cannot be read",
            "Restore it from a backup, or move it away: an index can be built again from its log",
            code="file-unusable",
        )
    return Generation(
        stream=stream,
        number=number,
        state=GenerationState(state),
        recipe=recipe,
        least_recipe=least_recipe,
        freeze=freeze,
        incarnation=incarnation,
        fingerprints=Fingerprints(text, chunk, model, payload),
        model=row[12],
        dimensions=row[13],
        log_identity=row[14],
        log_epoch=row[15],
        created_us=row[16],
        next_revision=row[17],
        purged_revision=row[18],
        positions=tuple(Position(*values) for values in positions),
        seen=tuple(Seen(*values) for values in seen),
        floors=tuple(Floor(*values) for values in floors),
    )


def insert_generation(connection: sqlite3.Connection, generation: Generation) -> bool:
    """Make a generation's row; tell whether it is new."""
    fingerprints = generation.fingerprints
    made = connection.execute(
        "INSERT INTO index_generation (stream, number, state, recipe, least_recipe, freeze, incarnation, "
        "text_fingerprint, chunk_fingerprint, model_fingerprint, payload_fingerprint, model, dimensions, log_identity, "
        "log_epoch, created_us, next_revision, purged_revision) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING key",
        (
            generation.stream,
            generation.number,
            generation.state.value,
            generation.recipe,
            generation.least_recipe,
            generation.freeze,
            generation.incarnation,
            *(fingerprints.text, fingerprints.chunk, fingerprints.model, fingerprints.payload),
            generation.model,
            generation.dimensions,
            generation.log_identity,
            generation.log_epoch,
            generation.created_us,
            generation.next_revision,
            generation.purged_revision,
        ),
    ).fetchall()
    for (key,) in made:
        save_positions(connection, key, generation.positions)
        save_seen(connection, key, generation.seen)
        save_floors(connection, key, generation.floors)
    return bool(made)


def save_positions(connection: sqlite3.Connection, key: int, positions: Iterable[Position]) -> None:
    """Write a generation's positions."""
    connection.executemany(
        "REPLACE INTO index_position VALUES (?, ?, ?, ?, ?)",
        [(key, position.partition, position.epoch, position.offset, position.mark) for position in positions],
    )


def save_seen(connection: sqlite3.Connection, key: int, seen: Iterable[Seen]) -> None:
    """Write the furthest places that a generation was fed from."""
    connection.executemany(
        "REPLACE INTO index_seen VALUES (?, ?, ?, ?, ?)",
        [(key, it.partition, it.epoch, it.offset, it.witness) for it in seen],
    )


def save_floors(connection: sqlite3.Connection, key: int, floors: Iterable[Floor]) -> None:
    """Write a generation's floors."""
    connection.executemany(
        "REPLACE INTO index_floor VALUES (?, ?, ?, ?)",
        [(key, floor.epoch, floor.partition, floor.offset) for floor in floors],
    )


def find_document(connection: sqlite3.Connection, generation: int, identity: str) -> Document | Unread | None:
    """Return one document's row."""
    row = connection.execute(
        f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE generation = ? AND id = ?",
        (generation, identity.encode()),
    ).fetchone()
    return read_document(row) if row else None


def find_documents(
    connection: sqlite3.Connection, generation: int, ids: Iterable[str], mending: Collection[str] = ()
) -> dict[str, Document]:
    """Return the rows of those documents that have one. Raise TornDocuments when one cannot be read and is none of
    those that are being mended.
    """
    found: dict[str, Document] = {}
    torn: list[Torn] = []
    for some in batches([identity.encode() for identity in ids]):
        rows = connection.execute(
            f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE generation = ? AND id IN ({marks(len(some))})",
            (generation, *some),
        )
        for row in rows.fetchall():
            document = read_document(row)
            if isinstance(document, Document):
                found[document.manifest.id] = document
            elif document.torn.id in mending:
                found[document.torn.id] = document.absent()
            else:
                torn.append(document.torn)
    if torn:
        (stream,) = connection.execute("SELECT stream FROM index_generation WHERE key = ?", (generation,)).fetchone()
        raise TornDocuments(stream, torn)
    return found


def unnamed_rows(connection: sqlite3.Connection, generation: int) -> list[int]:
    """Return the keys of the rows that belong to no document, in whatever generation, or to one of this generation
    whose manifest does not name them. What is named by a manifest that cannot be read, nobody knows.
    """
    lost = connection.execute(
        "SELECT key FROM index_chunk WHERE key >> 32 NOT IN (SELECT key FROM index_document)"
    ).fetchall()
    unnamed = [key for (key,) in lost]
    documents = connection.execute(f"SELECT {DOCUMENT_COLUMNS} FROM index_document WHERE generation = ?", (generation,))
    for document in map(read_document, documents):
        if isinstance(document, Document):
            held = connection.execute(
                "SELECT key FROM index_chunk WHERE key >= ? AND key < ?", key_range(document.key)
            ).fetchall()
            unnamed += {key for (key,) in held}.difference(document.row_keys())
    return unnamed


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut what one statement takes. Each step of a statement lets other threads run before it goes on, so many values
    in one statement cost a busy process less than many statements.
    """
    return (values[start : start + BATCH_VALUES] for start in range(0, len(values), BATCH_VALUES))


def marks(count: int) -> str:
    """Return so many question marks."""
    return ", ".join("?" * count)


def key_range(document: int) -> tuple[int, int]:
    """Return the first key of a document's rows, and the first one after them."""
    return document << SLOT_BITS, (document + 1) << SLOT_BITS
