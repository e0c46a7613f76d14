"""Backups that are restored, and logs that are made anew in front of an index: nothing is guessed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.bad_input.process import MARKER, WatchedCli, delete, upsert

CURE = "headwater resume notes --accept-log-epoch"


@pytest.fixture
def site(notes: WatchedCli) -> WatchedCli:
    """Ten documents, settled, and a backup of both files; then edits, a delete, a new document, settled too."""
    notes.write("headwater.yaml", (notes.folder / "headwater.yaml").read_text() + "    partitions: 1\n")
    notes.publish(*(upsert(f"n{i}", f"document {i}") for i in range(10)))
    notes("run", "--once")
    for name in ("log.db", "index.db"):
        copy(notes.folder / name, notes.folder / f"backup.{name}")
    notes.publish(upsert("n0", "edited"), delete("n1"), upsert("new", "new"), upsert("n2", "edited"), delete("n3"))
    notes("run", "--once")
    return notes


def copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def remove(site: WatchedCli, name: str) -> None:
    for path in site.folder.glob(f"{name}*"):
        if not path.name.endswith(".lock"):
            path.unlink()


def restore(site: WatchedCli, name: str) -> None:
    remove(site, name)
    copy(site.folder / f"backup.{name}", site.folder / name)


def contents(path: Path) -> list[str]:
    """Return all that a database holds."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def deleted(site: WatchedCli) -> None:
    remove(site, "log.db")
    site.publish(upsert("n0", "in the new log"), upsert("n5", "in the new log"), delete("n6"))


def restored(site: WatchedCli) -> None:
    restore(site, "log.db")


def grown(site: WatchedCli) -> None:
    restore(site, "log.db")
    site.publish(*(upsert(f"n{i}", "after the restoration") for i in range(8)), *(delete(f"d{i}") for i in range(20)))


def grown_with_deletes(site: WatchedCli) -> None:
    """The log grows again by deletes, whose bodies are equal to that of the last change that the index saw."""
    restore(site, "log.db")
    site.publish(*(delete(f"d{i}") for i in range(40)))


EVERY = {f"n{i}" for i in range(10)}
#: What happened to the log, the texts that must be there once it was accepted, and the documents that the index has
#: from changes which that log does not hold: they stay as they are, and `verify` names them.
HAPPENED: dict[str, tuple[Callable[[WatchedCli], None], dict[str, str], set[str]]] = {
    "deleted and made again": (
        deleted,
        {"n0": "in the new log", "n5": "in the new log"},
        EVERY - {"n0", "n5", "n6"} | {"new"},
    ),
    "restored from a backup": (
        restored,
        {f"n{i}": f"document {i}" for i in range(4, 10)},
        {"n0", "n1", "n2", "n3", "new"},
    ),
    "restored, and grown past the index": (
        grown,
        {f"n{i}": "after the restoration" if i < 8 else f"document {i}" for i in range(10)},
        {"new"},
    ),
    "restored, and grown by deletes": (
        grown_with_deletes,
        {f"n{i}": f"document {i}" for i in range(4, 10)},
        {"n0", "n1", "n2", "n3", "new"},
    ),
}


@pytest.mark.parametrize("what", HAPPENED)
def test_another_log_halts_until_it_is_accepted(site: WatchedCli, what: str) -> None:
    happen, expected, unverifiable = HAPPENED[what]
    happen(site)
    before = contents(site.folder / "index.db")
    for _ in range(2):
        halted = site("run", "--once", code=5)
        assert "log-rewind" in halted.stderr
        assert CURE in halted.stderr
        assert contents(site.folder / "index.db") == before, "the index was written to"

    site("resume", "notes", "--accept-log-epoch")
    site("run", "--once")
    assert site.status()["lag"]["records"] == 0
    texts = site.texts()
    assert {name: texts.get(name) for name in expected} == {name: f"{text} {MARKER}" for name, text in expected.items()}
    assert texts.keys() <= expected.keys() | unverifiable
    verified = site("verify", "notes")
    assert {line.split(": ")[1] for line in verified.stderr.splitlines()} == unverifiable
    # The word was for this log and for this time, and what comes now is taken.
    site.publish(*(upsert(name, "later") for name in sorted(EVERY)), delete("new"))
    site("run", "--once")
    assert site.texts() == dict.fromkeys(sorted(EVERY), f"later {MARKER}")
    assert site.json("verify", "notes", "--json")["unverifiable"] == 0


def test_what_the_index_learned_from_a_history_that_the_log_lost_stays(site: WatchedCli) -> None:
    """A restored log does not bring back what was deleted, nor undo an edit: only its own new changes count."""
    restored(site)
    site("resume", "notes", "--accept-log-epoch")
    site("run", "--once")
    texts = site.texts()
    assert not {"n1", "n3"} & texts.keys(), "a delete came undone"
    assert {texts[name] for name in ("n0", "n2")} == {f"edited {MARKER}"}


def test_an_index_restored_from_a_backup_goes_back_and_ends_right(site: WatchedCli) -> None:
    before = site.documents()
    restore(site, "index.db")
    assert site.texts()["n0"] == f"document 0 {MARKER}"
    site.publish(upsert("later", "later"))
    site("run", "--once")
    after = site.documents()
    assert after.pop("later")
    assert after == before
    assert site.json("verify", "notes", "--json")["ok"]
    assert site.dead() == {}


def test_both_restored_from_one_backup_go_on_as_they_were(site: WatchedCli) -> None:
    restore(site, "log.db")
    restore(site, "index.db")
    site.publish(upsert("n0", "another edit"))
    site("run", "--once")
    assert site.texts()["n0"] == f"another edit {MARKER}"
    assert site.texts()["n1"] == f"document 1 {MARKER}"
    assert site.json("verify", "notes", "--json")["ok"]
