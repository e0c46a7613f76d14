"""However many dead letters there are, a receipt looks only at those of its document that wait."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from headwater.clock import SystemIds
from headwater.log import sqlite_books
from headwater.log.sqlite import SqliteLog
from headwater.model.receipt import Settlement
from tests.unit.log.test_memory_log import HandClock


def test_letters_are_found_by_document_and_state(tmp_path: Path) -> None:
    async def make() -> None:
        reader = SqliteLog(tmp_path / "log.db", HandClock(), SystemIds()).reader("s", "g", 1, 1)
        await reader.settle(Settlement({}))
        await reader.close()

    asyncio.run(make())
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        query = f"EXPLAIN QUERY PLAN {sqlite_books._LETTERS_THAT_WAIT}"
        (row,) = connection.execute(query, (1, 1, b"a", "open", "retrying")).fetchall()
    assert "log_dead_document (stream=? AND generation=? AND document=? AND state=?)" in row[3]
