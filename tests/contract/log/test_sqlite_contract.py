"""The log in a SQLite file against the contract of the ports."""

from __future__ import annotations

from pathlib import Path

from headwater.clock import SystemClock, SystemIds
from headwater.log.sqlite import SqliteLog
from headwater.testing.log_contract import LogContract


class TestSqliteLog(LogContract):
    def log(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db", SystemClock(), SystemIds())
