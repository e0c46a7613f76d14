"""The worker's lock is on the file itself, whatever name it goes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.clock import SystemClock
from headwater.errors import Unreachable
from headwater.log.sqlite_lock import WorkerLock


def test_a_link_to_the_log_leads_to_the_same_lock(tmp_path: Path) -> None:
    log = tmp_path / "log.db"
    log.touch()
    link = tmp_path / "elsewhere"
    link.symlink_to(log)
    with WorkerLock(log, SystemClock()), pytest.raises(Unreachable, match="in use"):
        WorkerLock(link, SystemClock()).acquire()
