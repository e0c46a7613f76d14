"""Database files that cannot be used: what is said, the exit code, and what goes on by itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.bad_input.process import WatchedCli, delete, upsert
from tests.integration.cli.process import until, wait_for


@pytest.fixture
def settled(notes: WatchedCli) -> WatchedCli:
    notes.publish(*(upsert(f"n{i}", f"document {i}") for i in range(20)))
    notes("run", "--once")
    return notes


def edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def refused(notes: WatchedCli, name: str, *said: str) -> None:
    """Every verb that needs the file says what is wrong, and where, at once and with exit code 4."""
    verbs = [["run", "--once", "--timeout", "30s"], ["verify", "notes"]]
    verbs += [["publish", "notes", "changes.jsonl"], ["status"]] if name == "log.db" else [["search", "notes", "x"]]
    for verb in verbs:
        stderr = notes(*verb, code=4).stderr
        for part in (name, *said):
            assert part in stderr, f"{verb}: {stderr}"


@pytest.mark.parametrize("name", ["log.db", "index.db"])
def test_a_file_that_is_no_database(settled: WatchedCli, name: str) -> None:
    settled.write(name, "this is no database, whatever it is called\n" * 200)
    refused(settled, name, "not a SQLite database", "Check the path")


@pytest.mark.parametrize("name", ["log.db", "index.db"])
def test_a_file_that_is_corrupt(settled: WatchedCli, name: str) -> None:
    path = settled.folder / name
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[size:] = b"\xa5" * (len(content) - size)  # the first page tells what there is; the rest is not that
    path.write_bytes(content)
    refused(settled, name, "corrupt", "Restore it from a backup")
    assert path.read_bytes() == content, "nobody may write into what is corrupt"


@pytest.mark.parametrize(("name", "part"), [("log.db", "log"), ("index.db", "index")])
def test_a_file_of_a_newer_version(settled: WatchedCli, name: str, part: str) -> None:
    edit(settled.folder / name, f"UPDATE headwater_schema SET version = version + 99 WHERE part = '{part}'")
    refused(settled, name, f"its {part} was made by a newer Headwater", "schema 10", "Use that version")
    edit(settled.folder / name, f"UPDATE headwater_schema SET version = version - 99 WHERE part = '{part}'")
    assert settled.json("verify", "notes", "--json")["ok"]


def test_a_folder_in_the_place_of_the_file(notes: WatchedCli) -> None:
    (notes.folder / "log.db").mkdir()
    assert "log.db" in notes("run", "--once", "--timeout", "1s", code=4).stderr


@pytest.mark.parametrize("name", ["log.db", "index.db"])
def test_a_lock_that_outlives_the_patience_of_a_call(settled: WatchedCli, name: str) -> None:
    """Another process holds a write transaction for longer than a statement waits: the worker waits, and goes on."""
    settled.publish(upsert("late", "late"), delete("n0"))
    with closing(sqlite3.connect(settled.folder / name, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        worker = settled.start("run")
        if name == "log.db":
            refused = settled("publish", "notes", "changes.jsonl", code=4).stderr
            assert "locked by another process" in refused
            assert "Nothing was lost: try again" in refused
        wait_for(worker, 'cause="locked by another process"')
        other.execute("ROLLBACK")
    until(lambda: settled.status()["lag"]["records"] == 0)
    assert "late" in settled.texts()
    assert "n0" not in settled.texts()
    assert settled.dead() == {}
    assert settled.json("verify", "notes", "--json")["ok"]


def test_once_gives_up_when_the_lock_stays(settled: WatchedCli) -> None:
    settled.publish(upsert("late", "late"))
    with closing(sqlite3.connect(settled.folder / "index.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        stderr = settled("run", "--once", "--timeout", "1s", code=4).stderr
        other.execute("ROLLBACK")
    assert "gave up" in stderr
    assert "locked by another process" in stderr
    settled("run", "--once")
    assert "late" in settled.texts()
    assert settled.dead() == {}


def test_an_index_that_was_deleted_is_built_again(settled: WatchedCli) -> None:
    before = settled.documents()
    for path in settled.folder.glob("index.db*"):
        path.unlink()
    assert "headwater run" in settled("search", "notes", "x", code=4).stderr
    settled("run", "--once")
    assert settled.documents() == before
    assert settled.json("verify", "notes", "--json")["ok"]


def test_what_the_environment_holds_is_never_said(notes: WatchedCli) -> None:
    config = notes.folder / "headwater.yaml"
    good = config.read_text()
    for bad in ("freshness: ${env:XYZZY_SECRET}", "partitions: ${env:XYZZY_SECRET}", "${env:XYZZY_SECRET}: 1"):
        config.write_text(good + f"    {bad}\n")
        assert "headwater.yaml" in notes("run", "--once", code=3).stderr
    config.write_text(good.replace("log.db", "${env:XYZZY_SECRET}.db"))
    notes.publish(upsert("a", "a"))
    notes("run", "--once", "--verbose")
    notes("status")
