"""What a stopped worker leaves behind: a file that is whole by itself."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from headwater.database import Database, Schema

TABLE = Schema("test", 1, ("CREATE TABLE t (a)",))


class Closing(sqlite3.Connection):
    """A connection that takes a moment to close, and counts those that close at the same time."""

    now = 0
    most = 0
    count = threading.Lock()

    def close(self) -> None:
        with self.count:
            Closing.now += 1
            Closing.most = max(Closing.most, Closing.now)
        time.sleep(0.02)
        super().close()
        with self.count:
            Closing.now -= 1


def test_connections_close_one_at_a_time_so_that_the_last_folds_the_write_ahead_log_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, factory=Closing, **more))
    path = tmp_path / "a.db"

    async def scenario() -> None:
        databases = [Database(path, TABLE) for _ in range(4)]
        for database in databases:
            await database.write(lambda connection: connection.execute("INSERT INTO t VALUES (1)").rowcount)
        assert (tmp_path / "a.db-wal").stat().st_size, "else there is nothing to fold in"
        await asyncio.gather(*(database.close() for database in databases))

    asyncio.run(scenario())
    assert Closing.most == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]
