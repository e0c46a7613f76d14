"""The embedding cache in a SQLite file keeps the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from headwater.embedding.cache_sqlite import SqliteCache
from headwater.errors import HeadwaterError
from headwater.testing.cache_contract import ROOMY, CacheContract, Harness


class SqliteHarness:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[HeadwaterError] = []

    def cache(self, max_bytes: int = ROOMY) -> SqliteCache:
        return SqliteCache(self.path, max_bytes, self.said.append)

    def sealed(self) -> list[bytes]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [row[0] for row in connection.execute("SELECT sealed FROM cache_entry ORDER BY key")]

    def replace(self, sealed: bytes, other: bytes) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            changed = connection.execute("UPDATE cache_entry SET sealed = ? WHERE sealed = ?", (other, sealed))
            assert changed.rowcount == 1

    @contextmanager
    def broken(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("ALTER TABLE cache_entry RENAME TO elsewhere")
            yield
            connection.execute("ALTER TABLE elsewhere RENAME TO cache_entry")


class TestSqlite(CacheContract):
    def harness_in(self, folder: Path) -> Harness:
        return SqliteHarness(folder / "cache.db")
