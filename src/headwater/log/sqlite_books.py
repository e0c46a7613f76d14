"""Settling in a SQLite file: receipts, their chain, dead letters, sums. Each function runs inside one transaction."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from headwater.log.rules import FRESH, WAITING, closes, moved
from headwater.log.sqlite_schema import name_digest, secret
from headwater.model.manifest import Outcome
from headwater.model.receipt import DeadState, Receipt, Usage, day_of
from headwater.model.version import Version

ENCODER = msgspec.msgpack.Encoder()
_INSERT = f"INSERT OR IGNORE INTO log_receipt VALUES (NULL, {', '.join('?' * 13)})"
_LETTER = (
    "stream = ? AND generation = ? AND epoch = ? AND ord = ? AND version_offset = ? AND version_partition = ?"
    " AND document = ?"
)
_LETTERS_THAT_WAIT = (
    "SELECT epoch, ord, version_partition, version_offset, state FROM log_dead"
    " WHERE stream = ? AND generation = ? AND document = ? AND state IN (?, ?)"
)


class Books:
    """One index generation's part of the tables, inside one transaction."""

    def __init__(self, connection: sqlite3.Connection, stream: int, generation: int) -> None:
        self._connection = connection
        self._owner = (stream, generation)
        self._heads: dict[int, tuple[int, bytes]] = {}

    def settle(self, receipts: Sequence[Receipt], usage: Usage, now_us: int) -> None:
        """Write what is not written yet. A settlement whose receipts are all known costs nothing again."""
        fresh = self._enter(receipts)
        if fresh or not receipts:
            self._add(usage, day_of(now_us))
        self._judge(receipts, now_us)

    def _enter(self, receipts: Sequence[Receipt]) -> int:
        key = secret(self._connection)
        written: Counter[str] = Counter()
        names = []
        for receipt in receipts:
            document = name_digest(receipt.document, key)
            if self._write(receipt, document):
                written[receipt.outcome] += 1
                names.append((self._owner[0], document, receipt.document.encode()))
        self._connection.executemany("INSERT OR IGNORE INTO log_document VALUES (?, ?, ?)", names)
        self._connection.executemany(
            "INSERT INTO log_chain VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET length = excluded.length, head = excluded.head",
            [(*self._owner, partition, *head) for partition, head in self._heads.items()],
        )
        self._connection.executemany(
            "INSERT INTO log_outcome VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [(*self._owner, outcome, count) for outcome, count in written.items()],
        )
        return written.total()

    def _write(self, receipt: Receipt, document: bytes) -> bool:
        partition, version = receipt.place.partition, receipt.version
        length, head = self._head(partition)
        body = ENCODER.encode(msgspec.structs.replace(receipt, document=""))
        chain = link(head, document, body)
        key = (partition, *msgspec.structs.astuple(version), receipt.recipe, receipt.revision)
        fresh = receipt.applied_us > 0 and receipt.outcome in FRESH
        row = self._connection.execute(_INSERT, (*self._owner, *key, document, fresh, body, chain))
        if row.rowcount != 1:
            return False
        self._heads[partition] = (length + 1, chain)
        return True

    def _head(self, partition: int) -> tuple[int, bytes]:
        if partition not in self._heads:
            row = self._connection.execute(
                "SELECT length, head FROM log_chain WHERE stream = ? AND generation = ? AND partition = ?",
                (*self._owner, partition),
            ).fetchone()
            self._heads[partition] = (row[0], row[1]) if row else (0, b"")
        return self._heads[partition]

    def _add(self, usage: Usage, day: int) -> None:
        if usage == Usage():
            return
        self._connection.execute(
            "INSERT INTO log_usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, texts = texts + excluded.texts,"
            " tokens = tokens + excluded.tokens, reused = reused + excluded.reused,"
            " replay_tokens = replay_tokens + excluded.replay_tokens,"
            " batch_tokens = batch_tokens + excluded.batch_tokens",
            (*self._owner, day, *msgspec.structs.astuple(usage)),
        )

    def _judge(self, receipts: Iterable[Receipt], now_us: int) -> None:
        waiting = self._anybody_waits()
        for receipt in receipts:
            dead = receipt.outcome is Outcome.DEAD
            if waiting or dead:
                self._move(receipt, now_us)
            waiting = waiting or dead

    def _anybody_waits(self) -> bool:
        """Tell whether any letter can be moved at all: nearly always none, which saves a look for each receipt."""
        row = self._connection.execute(
            "SELECT EXISTS (SELECT 1 FROM log_dead WHERE stream = ? AND generation = ? AND state IN (?, ?))",
            (*self._owner, *WAITING),
        ).fetchone()
        return bool(row[0])

    def _move(self, receipt: Receipt, now_us: int) -> None:
        """Open or move the letter of the receipt's version, and close those that it overtakes."""
        key = letter_key(receipt.document, receipt.version)
        row = self._connection.execute(f"SELECT state FROM log_dead WHERE {_LETTER}", (*self._owner, *key)).fetchone()
        if row is not None:
            self._turn(receipt, receipt.version, DeadState(row[0]), receipt.outcome)
        elif receipt.outcome is Outcome.DEAD:
            place = receipt.place
            self._connection.execute(
                f"INSERT INTO log_dead VALUES ({', '.join('?' * 13)})",
                (*self._owner, *key, place.partition, place.offset, receipt.reason, DeadState.OPEN, now_us, 1),
            )
        if receipt.outcome in FRESH:
            rows = self._connection.execute(_LETTERS_THAT_WAIT, (*self._owner, receipt.document.encode(), *WAITING))
            for *version, state in rows.fetchall():
                if closes(receipt.outcome, receipt.version, Version(*version)):
                    self._turn(receipt, Version(*version), DeadState(state), Outcome.SUPERSEDED)

    def _turn(self, receipt: Receipt, version: Version, before: DeadState, outcome: Outcome) -> None:
        after = moved(before, outcome)
        if after is before:
            return
        again = (1, receipt.reason) if after is DeadState.OPEN else (0, None)
        self._connection.execute(
            f"UPDATE log_dead SET state = ?, attempts = attempts + ?, reason = coalesce(?, reason) WHERE {_LETTER}",
            (after, *again, *self._owner, *letter_key(receipt.document, version)),
        )


def link(head: bytes, document: bytes, body: bytes) -> bytes:
    """Return a chain's next digest. The first row's head is empty."""
    return hashlib.sha256(head + document + body).digest()


def letter_key(document: str, version: Version) -> tuple[int, int, int, int, bytes]:
    """Return a dead letter's key in the order of its columns."""
    return (version.epoch, version.order, version.offset, version.partition, document.encode())


def move_letter(
    connection: sqlite3.Connection,
    owner: tuple[int, int],
    key: tuple[int, int, int, int, bytes],
    expected: DeadState,
    state: DeadState,
) -> bool:
    """Move a dead letter by compare-and-set; tell whether it was in the expected state."""
    done = connection.execute(
        f"UPDATE log_dead SET state = ? WHERE {_LETTER} AND state = ?", (state, *owner, *key, expected)
    )
    return done.rowcount == 1
