"""Several processes on one cache file: at once, and when one of them is killed."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from headwater.embedding.cache_sqlite import SqliteCache
from headwater.errors import HeadwaterError
from headwater.testing.cache_contract import OURS, TIGHT, found, vectors_of

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[[str, int], subprocess.Popen[str]]
TEXTS = [f"text {number}" for number in range(1088)]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Start]:
    """Start processes on one file: `worker(tenant, rounds)`."""
    with ExitStack() as started:

        def start(tenant: str, rounds: int) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.cache.worker", tmp_path / "cache.db", tenant, str(rounds)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.callback(process.communicate)
            started.callback(process.kill)
            return process

        yield start


def assert_sound(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM cache_entry").fetchone()[0] > 0


def ask_and_put(path: Path, tenant: str) -> None:
    """Work with what others left: no vector is wrong, and nothing is in the way."""
    said: list[HeadwaterError] = []

    async def scenario() -> None:
        cache, space = SqliteCache(path, TIGHT, said.append), OURS._replace(tenant=tenant)
        await found(cache, space, TEXTS)
        await cache.put(space, vectors_of(space, ["new"]))
        assert await found(cache, space, ["new"]) == ["new"]
        await cache.close()

    asyncio.run(scenario())
    assert said == []


def test_two_of_one_tenant_and_one_of_another_share_a_file(tmp_path: Path, worker: Start) -> None:
    path = tmp_path / "cache.db"
    workers = [worker(tenant, 96) for tenant in ("ours", "ours", "theirs")]
    for process in workers:
        told, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint
        begun, hits, *said = told.splitlines()
        assert begun == "begun"
        assert int(hits.split()[0]) > 0
        assert [it for it in said if "locked by another process" not in it] == []
    assert_sound(path)
    ask_and_put(path, "ours")
    ask_and_put(path, "theirs")


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.15])
def test_one_that_is_killed_leaves_a_sound_file(tmp_path: Path, worker: Start, after_s: float) -> None:
    path = tmp_path / "cache.db"
    process = worker("ours", 1_000_000)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(after_s)
    process.kill()
    process.wait()
    ask_and_put(path, "ours")
    assert_sound(path)
