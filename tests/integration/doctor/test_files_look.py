"""Looking at a SQLite file: what is found in it, and that nothing beside it changes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headwater.clock import SystemClock
from headwater.doctor.files import FoundContent, FoundFile, NamedFile
from headwater.doctor.files_look import look_at_file


class Hasty(SystemClock):
    """A clock by which every deadline is over at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1000
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE headwater_schema (part TEXT PRIMARY KEY, version INTEGER NOT NULL)")
        connection.execute("INSERT INTO headwater_schema VALUES ('index', 2)")
        connection.execute("CREATE TABLE rows (key INTEGER PRIMARY KEY, text TEXT)")
        connection.executemany("INSERT INTO rows VALUES (?, ?)", ((key, "x" * 100) for key in range(5_000)))
        connection.commit()
    return path


def look(path: Path, clock: SystemClock | None = None) -> FoundFile:
    return look_at_file(NamedFile(str(path), str(path.parent), ("index",), "index"), clock or SystemClock())


def test_it_finds_the_parts_and_leaves_no_file_behind(path: Path) -> None:
    before = path.parent.stat().st_mtime_ns
    content = look(path).content
    assert content == FoundContent({"index": 2})
    assert path.parent.stat().st_mtime_ns == before
    assert [it.name for it in path.parent.iterdir()] == ["a.db"]


def test_it_reads_what_only_the_write_ahead_log_holds(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE headwater_schema SET version = 3")
        connection.commit()
        assert look(path).content.parts == {"index": 3}


def test_damage_that_reading_does_not_stumble_over(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.rindex(b"x" * 100)
    page = place // 4096 * 4096
    content[page : page + 4096] = bytes(4096)
    path.write_bytes(content)
    assert look(path).content.damage


def test_what_is_too_large_is_not_looked_through_to_the_end(path: Path) -> None:
    content = look(path, Hasty()).content
    assert (content.parts, content.damage, content.whole) == ({"index": 2}, "", False)
