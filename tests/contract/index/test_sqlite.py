"""The embedded index keeps the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from headwater.indexes.sqlite import CAPABILITIES, SqliteCatalogue, SqliteIndexReader, SqliteIndexWriter
from headwater.testing.index_contract import IndexContract
from headwater.testing.index_scenario import Harness


class SqliteHarness:
    capabilities = CAPABILITIES

    def __init__(self, path: Path) -> None:
        self.path = path

    def catalogue(self) -> SqliteCatalogue:
        return SqliteCatalogue(self.path)

    def writer(self, stream: str, number: int) -> SqliteIndexWriter:
        return SqliteIndexWriter(self.path, stream, number)

    def reader(self, stream: str, number: int) -> SqliteIndexReader:
        return SqliteIndexReader(self.path, stream, number)

    def restart(self) -> None:
        """Nothing is shared but the file."""

    @contextmanager
    def broken(self) -> Iterator[None]:
        # Rows are written before the manifest: when this fires, they are there and must go again.
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(
                "CREATE TRIGGER broken BEFORE INSERT ON index_document BEGIN SELECT RAISE(ABORT, 'told to'); END"
            )
            yield
            connection.execute("DROP TRIGGER broken")


class TestSqlite(IndexContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        return SqliteHarness(tmp_path / "index.db")
