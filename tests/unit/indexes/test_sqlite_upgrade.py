"""An index file that an earlier version made opens, whoever opens it first, and loses nothing."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from headwater.errors import Unreachable
from headwater.indexes.sqlite import SqliteCatalogue, SqliteIndexReader, SqliteIndexWriter
from headwater.indexes.sqlite_schema import SCHEMA
from headwater.testing.index_scenario import STREAM, at, generation, row, upsert

OPENER = """
import asyncio, sys
from pathlib import Path
from headwater.indexes.sqlite import SqliteCatalogue
from headwater.testing.index_scenario import STREAM
print(asyncio.run(SqliteCatalogue(Path(sys.argv[1])).keep_probes(STREAM, 1, sys.argv[2].encode())).decode())
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return an index as version 1 made it, with a document: it had no probes."""
    path = tmp_path / "index.db"

    async def fill() -> None:
        catalogue, writer = SqliteCatalogue(path), SqliteIndexWriter(path, STREAM, 1)
        await catalogue.create(generation())
        await writer.apply([upsert("a", at(1), ["x"], None)])
        await writer.close()
        await catalogue.close()

    asyncio.run(fill())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE index_probes")
        connection.execute("UPDATE headwater_schema SET version = 1 WHERE part = 'index'")
    return path


def version(path: Path) -> list[tuple[str, int]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT part, version FROM headwater_schema").fetchall()


def statements(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    return [sql for (sql,) in rows]


def test_a_reader_opens_it_and_finds_what_was_there(old: Path) -> None:
    async def search() -> list[str]:
        reader = SqliteIndexReader(old, STREAM, 1)
        hits = await reader.search(row("x").vector, 5, {})
        await reader.close()
        return [hit.text for hit in hits]

    assert asyncio.run(search()) == ["x"]
    assert version(old) == [("index", SCHEMA.version)]


def test_an_upgraded_file_is_as_a_new_one(old: Path, tmp_path: Path) -> None:
    async def look(path: Path) -> None:
        catalogue = SqliteCatalogue(path)
        await catalogue.generations(STREAM)
        await catalogue.close()

    asyncio.run(look(old))
    asyncio.run(look(tmp_path / "new.db"))
    assert statements(old) == statements(tmp_path / "new.db")
    assert version(old) == version(tmp_path / "new.db")


def test_of_many_that_open_it_at_once_one_upgrades_it(old: Path) -> None:
    names = [f"p{number}" for number in range(4)]
    started = [
        subprocess.Popen([sys.executable, "-c", OPENER, str(old), name], stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    said = {process.communicate(timeout=60)[0].strip() for process in started}
    assert [process.returncode for process in started] == [0] * len(started)
    assert len(said) == 1
    assert said < set(names)


def test_who_finds_it_upgraded_leaves_it(old: Path) -> None:
    """Between a look at the version and the upgrade another process may have been faster."""

    async def upgrade() -> None:
        database = SqliteCatalogue(old)._database
        for _ in range(2):
            await database.write(database._make)
        await database.close()

    asyncio.run(upgrade())
    assert version(old) == [("index", SCHEMA.version)]


def test_one_of_a_later_version_is_refused(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE headwater_schema SET version = ?", (SCHEMA.version + 1,))

    async def look() -> None:
        catalogue = SqliteCatalogue(old)
        try:
            await catalogue.generations(STREAM)
        finally:
            await catalogue.close()

    with pytest.raises(Unreachable, match="newer Headwater"):
        asyncio.run(look())
    assert version(old) == [("index", SCHEMA.version + 1)]
