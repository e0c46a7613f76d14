"""The tables of the log in a SQLite file, and the few statements that several of its parts share."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import NamedTuple

from headwater.clock import Clock, Ids
from headwater.database import Database, Schema
from headwater.errors import Misconfigured

VERSION = 3

# What the model was asked for, by the day of the settlement. Day 0 holds what version 1 added up: it knew no days.
_USAGE = """
CREATE TABLE log_usage (
    stream INTEGER NOT NULL, generation INTEGER NOT NULL, day INTEGER NOT NULL,
    calls INTEGER NOT NULL, texts INTEGER NOT NULL, tokens INTEGER NOT NULL, reused INTEGER NOT NULL,
    replay_tokens INTEGER NOT NULL, batch_tokens INTEGER NOT NULL,
    PRIMARY KEY (stream, generation, day)
) STRICT, WITHOUT ROWID"""

# With the state, as the index by state has it: without it that one serves every question, by reading all letters.
_LETTERS_OF_A_DOCUMENT = "CREATE INDEX log_dead_document ON log_dead (stream, generation, document, state)"

_UPGRADES = {
    1: (
        "ALTER TABLE log_usage RENAME TO log_usage_1",
        _USAGE,
        "INSERT INTO log_usage SELECT stream, generation, 0, calls, texts, tokens, reused, 0, 0 FROM log_usage_1",
        "DROP TABLE log_usage_1",
    ),
    2: (_LETTERS_OF_A_DOCUMENT,),
}

# Records are an ordinary table with an index beside it: without a rowid, kilobyte values spill into overflow pages;
# measured: 2.3 times slower to append, and 3.7 times the size.
_TABLES = """
CREATE TABLE log_file (
    one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL, secret BLOB NOT NULL, created_us INTEGER NOT NULL
) STRICT;
CREATE TABLE log_stream (
    stream INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL
) STRICT;
CREATE TABLE log_partition (
    stream INTEGER NOT NULL, partition INTEGER NOT NULL,
    low INTEGER NOT NULL DEFAULT 0, high INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (stream, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_record (
    stream INTEGER NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    time_us INTEGER NOT NULL, key BLOB NOT NULL, value BLOB, headers BLOB,
    PRIMARY KEY (stream, partition, offset)
) STRICT;
-- `holder` counts the readers that took the group over: the newest has it, all others are zombies.
CREATE TABLE log_group (
    stream INTEGER NOT NULL, name TEXT NOT NULL, holder INTEGER NOT NULL,
    PRIMARY KEY (stream, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_offset (
    stream INTEGER NOT NULL, name TEXT NOT NULL, partition INTEGER NOT NULL, committed INTEGER NOT NULL,
    PRIMARY KEY (stream, name, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_source (
    stream INTEGER NOT NULL, source TEXT NOT NULL, serial INTEGER NOT NULL,
    PRIMARY KEY (stream, source)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_source_entry (
    stream INTEGER NOT NULL, source TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (stream, source, key)
) STRICT, WITHOUT ROWID;
-- `document` is the id's keyed digest, `body` the receipt without its document id, and `chain` the digest of the
-- chain's previous row, of `document` and of `body`: erasing an id from log_document leaves the chain whole.
CREATE TABLE log_receipt (
    id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, generation INTEGER NOT NULL, partition INTEGER NOT NULL,
    epoch INTEGER NOT NULL, ord INTEGER NOT NULL, version_partition INTEGER NOT NULL, version_offset INTEGER NOT NULL,
    recipe INTEGER NOT NULL, revision INTEGER NOT NULL,
    document BLOB NOT NULL, fresh INTEGER NOT NULL, body BLOB NOT NULL, chain BLOB NOT NULL,
    UNIQUE (stream, generation, partition, epoch, ord, version_partition, version_offset, recipe, revision)
) STRICT;
CREATE INDEX log_receipt_document ON log_receipt (document, stream, generation);
CREATE INDEX log_receipt_fresh ON log_receipt (stream, generation) WHERE fresh = 1;
CREATE TABLE log_document (
    stream INTEGER NOT NULL, document BLOB NOT NULL, name BLOB NOT NULL,
    PRIMARY KEY (stream, document)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_chain (
    stream INTEGER NOT NULL, generation INTEGER NOT NULL, partition INTEGER NOT NULL,
    length INTEGER NOT NULL, head BLOB NOT NULL,
    PRIMARY KEY (stream, generation, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_outcome (
    stream INTEGER NOT NULL, generation INTEGER NOT NULL, outcome TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (stream, generation, outcome)
) STRICT, WITHOUT ROWID;
-- The key's order is that of `Ledger.dead`: the oldest version first.
CREATE TABLE log_dead (
    stream INTEGER NOT NULL, generation INTEGER NOT NULL,
    epoch INTEGER NOT NULL, ord INTEGER NOT NULL, version_offset INTEGER NOT NULL, version_partition INTEGER NOT NULL,
    document BLOB NOT NULL, place_partition INTEGER NOT NULL, place_offset INTEGER NOT NULL,
    reason TEXT NOT NULL, state TEXT NOT NULL, opened_us INTEGER NOT NULL, attempts INTEGER NOT NULL,
    PRIMARY KEY (stream, generation, epoch, ord, version_offset, version_partition, document)
) STRICT, WITHOUT ROWID;
CREATE INDEX log_dead_state ON log_dead (stream, generation, state);
CREATE TABLE log_registry (
    stream TEXT PRIMARY KEY, serial INTEGER NOT NULL, body BLOB NOT NULL
) STRICT, WITHOUT ROWID
"""


class LogFile(NamedTuple):
    """Where a log lies, and what is needed to make it: its identity and its secret are minted with the file."""

    path: Path
    clock: Clock
    ids: Ids
    create: bool = True

    def open(self) -> Database:
        """Return a connection of its own. Nothing happens to the file until it is used."""
        values = f"1, '{self.ids.identity()}', x'{self.ids.secret().hex()}', {self.clock.now_us()}"
        tables = (*_TABLES.split(";"), _LETTERS_OF_A_DOCUMENT, _USAGE, f"INSERT INTO log_file VALUES ({values})")
        return Database(self.path, Schema("log", VERSION, tables, _UPGRADES), create=self.create)


def find_stream(connection: sqlite3.Connection, name: str) -> tuple[int, int] | None:
    """Return a stream's number and how many partitions it has, or None before its first use."""
    row = connection.execute("SELECT stream, partitions FROM log_stream WHERE name = ?", (name,)).fetchone()
    return (row[0], row[1]) if row else None


def make_stream(connection: sqlite3.Connection, name: str, partitions: int) -> int:
    """Return a stream's number, making it on first use. Raise Misconfigured for another number of partitions."""
    found = find_stream(connection, name)
    if found is None:
        made = connection.execute("INSERT INTO log_stream (name, partitions) VALUES (?, ?)", (name, partitions))
        assert made.lastrowid is not None
        rows = [(made.lastrowid, partition) for partition in range(partitions)]
        connection.executemany("INSERT INTO log_partition (stream, partition) VALUES (?, ?)", rows)
        return made.lastrowid
    if found[1] != partitions:
        expected = f"{found[1]}, as the stream was made with"
        raise Misconfigured(f"streams.{name}.partitions", expected, str(partitions), code="made-otherwise")
    return found[0]


async def open_stream(file: Database, name: str, partitions: int) -> int:
    """Return a stream's number. Writes only on its first use, so that opening never waits for another's transaction."""
    found = await file.read(lambda connection: find_stream(connection, name))
    if found is not None and found[1] == partitions:
        return found[0]
    return await file.write(lambda connection: make_stream(connection, name, partitions))


def secret(connection: sqlite3.Connection) -> bytes:
    """Return the key of the digests that stand for document ids."""
    row = connection.execute("SELECT secret FROM log_file").fetchone()
    return bytes(row[0])


def name_digest(document: str, key: bytes) -> bytes:
    """Return what stands for a document id in a receipt."""
    return hashlib.blake2b(document.encode(), key=key, digest_size=16).digest()
