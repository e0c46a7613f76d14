"""The log in a SQLite file against the contract of the ports."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.clock import SystemClock, SystemIds
from headwater.log.sqlite import SqliteLog
from headwater.testing.log_contract import LogContract


class TestSqliteLog(LogContract):
    def log(self, folder: Path) -> SqliteLog:
        return SqliteLog(folder / "log.db", SystemClock(), SystemIds())

    @pytest.mark.xfail(strict=True, reason="the newest reader takes everything at once")
    def test_what_was_revoked_is_settled_until_the_next_poll(self, tmp_path: Path) -> None:
        super().test_what_was_revoked_is_settled_until_the_next_poll(tmp_path)
