"""The embedding cache in a SQLite file keeps the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from headwater.embedding.cache_sqlite import SqliteCache
from headwater.errors import HeadwaterError
from headwater.testing.cache_contract import ROOMY, CacheContract, Harness

TABLES = ("cache_entry", "cache_held")


class SqliteHarness:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[HeadwaterError] = []

    def cache(self, max_bytes: int = ROOMY) -> SqliteCache:
        return SqliteCache(self.path, max_bytes, self.said.append)

    def sealed(self) -> list[bytes]:
        with closing(sqlite3.connect(self.path)) as connection:
            held = "SELECT sealed FROM cache_held WHERE sealed <> x''"
            return [row[0] for row in connection.execute(f"SELECT sealed FROM cache_entry UNION ALL {held}")]

    def replace(self, sealed: bytes, other: bytes) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            rows = (other, sealed)
            changed = [connection.execute(f"UPDATE {it} SET sealed = ? WHERE sealed = ?", rows) for it in TABLES]
            assert sum(it.rowcount for it in changed) == 1

    @contextmanager
    def broken(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path)) as connection:
            for table in TABLES:
                connection.execute(f"ALTER TABLE {table} RENAME TO {table}_elsewhere")
            yield
            for table in TABLES:
                connection.execute(f"ALTER TABLE {table}_elsewhere RENAME TO {table}")


class TestSqlite(CacheContract):
    def harness_in(self, folder: Path) -> Harness:
        return SqliteHarness(folder / "cache.db")
