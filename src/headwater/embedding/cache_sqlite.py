"""The embedding cache in a SQLite file of its own, which several processes may share.

New entries have the highest keys, and what is asked for again moves up there, at most once while half of the file is
replaced. So the lowest keys are what was not used for the longest, and lie side by side: to evict is to cut them off,
and reading costs no write as a rule.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from headwater.database import Database, Schema
from headwater.embedding.cache import Space, TextKey, seal, unseal
from headwater.errors import HeadwaterError, Retry, Unreachable

T = TypeVar("T")

#: Entries that are evicted in one statement, and how many of these one call does: what it takes is bounded, and it is
#: far more than a call puts in, so a file over its bound shrinks.
_EVICTED = 128
_EVICTIONS = 16
#: A cache that waits for longer than this is slower than many a model.
_BUSY_TIMEOUT_MS = 1_000

_SPACES = (
    "CREATE TABLE cache_space (key INTEGER PRIMARY KEY, tenant TEXT NOT NULL, model TEXT NOT NULL, "
    "UNIQUE (tenant, model)) STRICT"
)
_ENTRIES = (
    "CREATE TABLE cache_entry (key INTEGER PRIMARY KEY, digest BLOB NOT NULL, space INTEGER NOT NULL, "
    "sealed BLOB NOT NULL, UNIQUE (digest, space)) STRICT"
)
_SCHEMA = Schema("cache", 1, (_SPACES, _ENTRIES))
_SPACE = "SELECT key FROM cache_space WHERE tenant = ? AND model = ?"
# As bytes whatever it is: damage may have made a text of it, which not every reader can read.
_FIND = "SELECT key, CAST(sealed AS BLOB) FROM cache_entry WHERE digest = ? AND space = ?"
_PUT = "INSERT OR REPLACE INTO cache_entry (digest, space, sealed) VALUES (?, ?, ?)"
_ENDS = "SELECT (SELECT min(key) FROM cache_entry), (SELECT max(key) FROM cache_entry)"
_MOVE = "UPDATE cache_entry SET key = (SELECT max(key) FROM cache_entry) + 1 WHERE key = ?"
_EVICT = "DELETE FROM cache_entry WHERE key IN (SELECT key FROM cache_entry ORDER BY key LIMIT ?)"
_FORGET = "DELETE FROM cache_entry WHERE digest = ? AND space IN (SELECT key FROM cache_space WHERE tenant = ?)"


class _Found(NamedTuple):
    """What a look brings: the vectors, and the keys of entries to delete and to move up."""

    vectors: list[bytes | None]
    unsound: list[tuple[int]]
    old: list[tuple[int]]


class SqliteCache:
    """Keeps at most `max_bytes` in the file at `path`, the write-ahead log of some megabytes apart.

    The file holds nothing else, and never becomes smaller: what is evicted makes room for others. `say` is told why the
    cache cannot be used, each cause once; it is called on the loop.
    """

    def __init__(self, path: Path, max_bytes: int, say: Callable[[HeadwaterError], None]) -> None:
        self._database = Database(path, _SCHEMA, secure_delete=True)
        self._max_bytes = max_bytes
        self._say = say
        self._said: set[str] = set()
        self._tuned = False

    def __repr__(self) -> str:
        return f"SqliteCache({str(self._database.path)!r})"

    async def get(self, space: Space, texts: Sequence[TextKey]) -> list[bytes | None]:
        nothing = _Found([None] * len(texts), [], [])
        found = await self._tried(lambda: self._database.read(lambda it: self._look(it, space, texts)), nothing)
        if found.unsound or found.old:
            await self._tried(lambda: self._database.write(lambda it: _tidy(it, found)), None)
        return found.vectors

    async def put(self, space: Space, vectors: Mapping[TextKey, bytes]) -> None:
        sealed = [(text.digest, seal(space, text, vector)) for text, vector in vectors.items()]
        if sealed:
            await self._tried(lambda: self._database.write(lambda it: self._keep(it, space, sealed)), None)

    async def forget(self, tenant: str, digests: Sequence[bytes]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(_FORGET, [(digest, tenant) for digest in digests])

        await self._tune()
        await self._database.write(work)
        # What was overwritten with zeros in the file stands in the write-ahead log until that is emptied.
        if await self._database.wait(_emptied):
            raise Retry(str(self._database.path), "others still read what is to be forgotten")

    async def close(self) -> None:
        await self._database.close()

    async def _tried(self, call: Callable[[], Awaitable[T]], otherwise: T) -> T:
        try:
            await self._tune()
            return await call()
        except Retry as error:
            self._tell(error)
        except Unreachable as error:
            self._tell(self._unusable(error.cause))
        except (TypeError, ValueError):  # a damaged file holds any value anywhere
            self._tell(self._unusable("the file is corrupt"))
        return otherwise

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
                str(self._database.path), "it holds a log or an index", "Give the cache a file of its own"
            )

    def _unusable(self, cause: str) -> Unreachable:
        cure = "The work goes on without it. Where the file is damaged, stop and remove it: it is made again"
        return Unreachable(str(self._database.path), cause, cure)

    def _tell(self, error: HeadwaterError) -> None:
        if str(error) not in self._said:
            self._said.add(str(error))
            self._say(error)

    def _look(self, connection: sqlite3.Connection, space: Space, texts: Sequence[TextKey]) -> _Found:
        found = _Found([None] * len(texts), [], [])
        row = connection.execute(_SPACE, space[:2]).fetchone()
        if row is None:
            return found
        old = self._old(connection)
        for place, text in enumerate(texts):
            for key, sealed in connection.execute(_FIND, (text.digest, row[0])):
                vector = unseal(space, text, sealed)
                found.vectors[place] = vector
                if vector is None:
                    found.unsound.append((key,))
                elif key < old:
                    found.old.append((key,))
        return found

    def _old(self, connection: sqlite3.Connection) -> int:
        """Return the key below which an entry moves up when it is asked for: none while there is room for all."""
        if 2 * _bytes(connection) < self._max_bytes:
            return 0
        first, last = connection.execute(_ENDS).fetchone()
        return 0 if first is None else (int(first) + int(last)) // 2

    def _keep(self, connection: sqlite3.Connection, space: Space, sealed: Sequence[tuple[bytes, bytes]]) -> None:
        connection.execute("INSERT OR IGNORE INTO cache_space (tenant, model) VALUES (?, ?)", space[:2])
        (key,) = connection.execute(_SPACE, space[:2]).fetchone()
        connection.executemany(_PUT, [(digest, key, it) for digest, it in sealed])
        for _ in range(_EVICTIONS):
            if _bytes(connection) <= self._max_bytes:
                break
            connection.execute(_EVICT, (_EVICTED,))


def _tidy(connection: sqlite3.Connection, found: _Found) -> None:
    connection.executemany("DELETE FROM cache_entry WHERE key = ?", found.unsound)
    # Moved and not written again: what another process forgot since then stays forgotten.
    connection.executemany(_MOVE, found.old)


def _bytes(connection: sqlite3.Connection) -> int:
    """Return how much of the file is in use."""
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _emptied(connection: sqlite3.Connection) -> bool:
    """Empty the write-ahead log. Say whether somebody was in the way."""
    return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
