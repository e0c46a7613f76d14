"""The embedding cache in a SQLite file of its own, which several processes may share.

New entries have the highest keys, and what is asked for again moves up there, at most once while half of the file is
replaced. So the lowest keys are what was not used for the longest, and lie side by side: to evict is to cut them off,
and reading costs no write as a rule.

What is held for documents lies in a table of its own. To let go of it takes three steps, so that a crash between them
loses neither the erasure nor the cost: the rows are emptied and keep their tokens, the write-ahead log is emptied, the
rows are deleted and told of.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from headwater.database import Database, Schema
from headwater.embedding.cache import Held, Space, TextKey, seal, unseal
from headwater.errors import HeadwaterError, Misconfigured, Retry, Unreachable
from headwater.model.change import digest

T = TypeVar("T")

#: Entries that are evicted in one statement, and how many of these one call does: what it takes is bounded, and it is
#: far more than a call puts in, so a file over its bound shrinks.
_EVICTED = 128
_EVICTIONS = 16
#: A cache that waits for longer than this is slower than many a model.
_BUSY_TIMEOUT_MS = 1_000
_CURE = "Where the file is damaged, stop and remove it: it is made again"

_SPACES = (
    "CREATE TABLE cache_space (key INTEGER PRIMARY KEY, tenant TEXT NOT NULL, model TEXT NOT NULL, "
    "UNIQUE (tenant, model)) STRICT"
)
_ENTRIES = (
    "CREATE TABLE cache_entry (key INTEGER PRIMARY KEY, digest BLOB NOT NULL, space INTEGER NOT NULL, "
    "sealed BLOB NOT NULL, UNIQUE (digest, space)) STRICT"
)
# A document is the SHA-256 of its id. A row whose vector was let go of is empty, and has its tokens still.
_HELD = (
    "CREATE TABLE cache_held (key INTEGER PRIMARY KEY, document BLOB NOT NULL, stream TEXT NOT NULL, "
    "space INTEGER NOT NULL, digest BLOB NOT NULL, sealed BLOB NOT NULL, tokens INTEGER NOT NULL) STRICT"
)
_HELD_INDEXES = (
    "CREATE INDEX cache_held_document ON cache_held (document, stream, space)",
    "CREATE INDEX cache_held_digest ON cache_held (digest, space)",
)
SCHEMA = Schema("cache", 1, (_SPACES, _ENTRIES, _HELD, *_HELD_INDEXES))
_TENANT = "space IN (SELECT key FROM cache_space WHERE tenant = ?)"
_SPACE = "SELECT key FROM cache_space WHERE tenant = ? AND model = ?"
# As bytes whatever it is: damage may have made a text of it, which not every reader can read.
_FIND = "SELECT key, CAST(sealed AS BLOB) FROM cache_entry WHERE digest = ? AND space = ?"
_PUT = "INSERT OR REPLACE INTO cache_entry (digest, space, sealed) VALUES (?, ?, ?)"
_ENDS = "SELECT (SELECT min(key) FROM cache_entry), (SELECT max(key) FROM cache_entry)"
_MOVE = "UPDATE cache_entry SET key = (SELECT max(key) FROM cache_entry) + 1 WHERE key = ?"
_EVICT = "DELETE FROM cache_entry WHERE key IN (SELECT key FROM cache_entry ORDER BY key LIMIT ?)"
_FORGET = f"DELETE FROM cache_entry WHERE digest = ? AND {_TENANT}"
_HOLDS = "SELECT EXISTS (SELECT 1 FROM cache_held)"
_HELD_TOKENS = "SELECT coalesce(sum(tokens), 0) FROM cache_held WHERE stream = ?"
_FIND_HELD = "SELECT key, CAST(sealed AS BLOB) FROM cache_held WHERE digest = ? AND space = ?"
_REPLACED = "DELETE FROM cache_held WHERE document = ? AND stream = ? AND space = ? AND digest = ?"
_HOLD = "INSERT INTO cache_held (document, stream, space, digest, sealed, tokens) VALUES (?, ?, ?, ?, ?, ?)"
_EMPTY = "UPDATE cache_held SET digest = x'', sealed = x'' WHERE"
_OF_DOCUMENT = f"document = ? AND stream = ? AND {_TENANT}"
_EMPTIED = f"FROM cache_held WHERE {_OF_DOCUMENT} AND digest = x''"


class _Found(NamedTuple):
    """What a look brings: the vectors, the keys of entries to delete and to move up, and of what is held to empty."""

    vectors: list[bytes | None]
    unsound: list[tuple[int]]
    old: list[tuple[int]]
    spoilt: list[tuple[int]]


class SqliteCache:
    """Keeps at most `max_bytes` in the file at `path`, the write-ahead log of some megabytes apart.

    The file holds nothing else, and never becomes smaller: what is evicted makes room for others. `say` is told why the
    cache cannot be used, each cause once; it is called on the loop.
    """

    def __init__(self, path: Path, max_bytes: int, say: Callable[[HeadwaterError], None]) -> None:
        self._database = Database(path, SCHEMA, secure_delete=True)
        self._max_bytes = max_bytes
        self._say = say
        self._said: set[str] = set()
        self._tuned = False

    def __repr__(self) -> str:
        return f"SqliteCache({str(self._database.path)!r})"

    async def get(self, space: Space, texts: Sequence[TextKey], *, surely: bool = False) -> list[bytes | None]:
        def look() -> Awaitable[_Found]:
            return self._database.read(lambda it: self._look(it, space, texts))

        nothing = _Found([None] * len(texts), [], [], [])
        found = await (self._surely(look) if surely else self._tried(look, nothing))
        if found.unsound or found.old or found.spoilt:
            await self._tried(lambda: self._database.write(lambda it: _tidy(it, found)), None)
        return found.vectors

    async def put(self, space: Space, vectors: Mapping[TextKey, bytes]) -> None:
        sealed = [(text.digest, seal(space, text, vector)) for text, vector in vectors.items()]
        if sealed:
            await self._tried(lambda: self._database.write(lambda it: self._keep(it, space, sealed)), None)

    async def forget(self, tenant: str, digests: Sequence[bytes]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            rows = [(digest, tenant) for digest in digests]
            connection.executemany(_FORGET, rows)
            connection.executemany(f"{_EMPTY} digest = ? AND {_TENANT}", rows)

        await self._surely(lambda: self._emptying(work))

    async def hold(self, space: Space, stream: str, held: Mapping[str, Sequence[Held]]) -> None:
        rows = [
            (digest(document), it.text.digest, seal(space, it.text, it.vector), it.tokens)
            for document, its in held.items()
            for it in its
        ]
        if rows:  # in the file itself: what was paid for outlives a crash of the machine too
            await self._surely(lambda: self._emptying(lambda it: self._hold(it, space, stream, rows)))

    async def release(self, tenant: str, stream: str, documents: Sequence[str]) -> dict[str, int]:
        names = {digest(document): document for document in documents}

        def owners(connection: sqlite3.Connection) -> list[tuple[bytes, str, str]]:
            if not connection.execute(_HOLDS).fetchone()[0]:
                return []
            asked = [(name, stream, tenant) for name in names]
            return [
                it
                for it in asked
                if connection.execute(f"SELECT 1 FROM cache_held WHERE {_OF_DOCUMENT}", it).fetchone()
            ]

        found = await self._surely(lambda: self._database.read(owners))
        if not found:
            return {}
        await self._surely(lambda: self._emptying(lambda it: it.executemany(f"{_EMPTY} {_OF_DOCUMENT}", found)))
        tokens = await self._surely(lambda: self._database.write(lambda it: [_told(it, owner) for owner in found]))
        return {names[owner[0]]: count for owner, count in zip(found, tokens, strict=True) if count is not None}

    async def held_tokens(self, streams: Sequence[str]) -> int:
        """Return what was paid for all that is held for these streams: it is in no ledger yet."""

        def tokens(connection: sqlite3.Connection) -> int:
            return sum(connection.execute(_HELD_TOKENS, (stream,)).fetchone()[0] for stream in streams)

        return await self._surely(lambda: self._database.read(tokens))

    async def close(self) -> None:
        await self._database.close()

    async def _emptying(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Write, and empty the write-ahead log: it is not synced, and has what is zeros in the file by now."""
        await self._database.write(work)
        if await self._database.wait(_emptied):
            raise Retry(str(self._database.path), "others still read what is to be forgotten or synced")

    async def _tried(self, call: Callable[[], Awaitable[T]], otherwise: T) -> T:
        try:
            return await self._surely(call)
        except Retry as error:
            self._tell(error)
        except Unreachable as error:
            cure = f"The work goes on without it. {_CURE}"
            self._tell(Unreachable(str(self._database.path), error.cause, cure, code="file-unusable"))
        return otherwise

    async def _surely(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            await self._tune()
            return await call()
        except (TypeError, ValueError) as error:  # a damaged file holds any value anywhere
            raise Unreachable(str(self._database.path), "the file is corrupt", _CURE, code="file-unusable") from error

    async def _tune(self) -> None:
        if not self._tuned:
            await self._database.wait(self._tuning)
            self._tuned = True

    def _tuning(self, connection: sqlite3.Connection) -> None:
        # What a crash of the machine takes with it can be paid for again; the file stays whole without a sync.
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
        if connection.execute("SELECT 1 FROM headwater_schema WHERE part <> 'cache'").fetchone():
            raise Unreachable(
                str(self._database.path),
                "it holds a log or an index",
                "Give the cache a file of its own",
                code="file-unusable",
            )

    def _tell(self, error: HeadwaterError) -> None:
        if str(error) not in self._said:
            self._said.add(str(error))
            self._say(error)

    def _look(self, connection: sqlite3.Connection, space: Space, texts: Sequence[TextKey]) -> _Found:
        found = _Found([None] * len(texts), [], [], [])
        row = connection.execute(_SPACE, space[:2]).fetchone()
        if row is None:
            return found
        old, held = self._old(connection), connection.execute(_HOLDS).fetchone()[0]
        for place, text in enumerate(texts):
            for key, sealed in connection.execute(_FIND, (text.digest, row[0])):
                vector = unseal(space, text, sealed)
                found.vectors[place] = vector
                if vector is None:
                    found.unsound.append((key,))
                elif key < old:
                    found.old.append((key,))
            if held and found.vectors[place] is None:
                for key, sealed in connection.execute(_FIND_HELD, (text.digest, row[0])):
                    found.vectors[place] = unseal(space, text, sealed)
                    if found.vectors[place] is not None:
                        break
                    found.spoilt.append((key,))
        return found

    def _old(self, connection: sqlite3.Connection) -> int:
        """Return the key below which an entry moves up when it is asked for: none while there is room for all."""
        if 2 * _bytes(connection) < self._max_bytes:
            return 0
        first, last = connection.execute(_ENDS).fetchone()
        return 0 if first is None else (int(first) + int(last)) // 2

    def _keep(self, connection: sqlite3.Connection, space: Space, sealed: Sequence[tuple[bytes, bytes]]) -> None:
        key = _key_of(connection, space)
        connection.executemany(_PUT, [(digest, key, it) for digest, it in sealed])
        for _ in range(_EVICTIONS):
            if _bytes(connection) <= self._max_bytes:
                break
            connection.execute(_EVICT, (_EVICTED,))

    def _hold(
        self, connection: sqlite3.Connection, space: Space, stream: str, rows: Sequence[tuple[bytes, bytes, bytes, int]]
    ) -> None:
        key = _key_of(connection, space)
        for document, *rest in rows:
            connection.execute(_REPLACED, (document, stream, key, rest[0]))
            connection.execute(_HOLD, (document, stream, key, *rest))
        while (size := _bytes(connection)) > self._max_bytes:
            if not connection.execute(_EVICT, (_EVICTED,)).rowcount:
                expected = f"at least the {size} bytes of what was bought ahead for documents that are not settled"
                raise Misconfigured("cache.size", expected, f"{self._max_bytes} bytes")


def _key_of(connection: sqlite3.Connection, space: Space) -> int:
    """Return the key of a space, making it on first use."""
    connection.execute("INSERT OR IGNORE INTO cache_space (tenant, model) VALUES (?, ?)", space[:2])
    return int(connection.execute(_SPACE, space[:2]).fetchone()[0])


def _told(connection: sqlite3.Connection, owner: tuple[bytes, str, str]) -> int | None:
    """Delete the emptied rows of a document, and return their tokens: none when another process was faster."""
    # As whole numbers whatever they are: damage may have made anything of them.
    total = "count(*), coalesce(sum(CAST(tokens AS INTEGER)), 0)"
    count, tokens = connection.execute(f"SELECT {total} {_EMPTIED}", owner).fetchone()
    connection.execute(f"DELETE {_EMPTIED}", owner)
    return int(tokens) if count else None


def _tidy(connection: sqlite3.Connection, found: _Found) -> None:
    connection.executemany("DELETE FROM cache_entry WHERE key = ?", found.unsound)
    # Moved and not written again: what another process forgot since then stays forgotten.
    connection.executemany(_MOVE, found.old)
    connection.executemany(f"{_EMPTY} key = ?", found.spoilt)


def _bytes(connection: sqlite3.Connection) -> int:
    """Return how much of the file is in use."""
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _emptied(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead log. Say whether somebody was in the way."""
    return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
