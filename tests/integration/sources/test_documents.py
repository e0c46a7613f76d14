"""`headwater run` over a folder of dirty documents: the good ones are searchable, each bad one is one dead letter."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from headwater.documents.identity import parsers_missing
from tests.integration.cli.process import Cli, heard, until, wait_for
from tests.integration.documents import making
from tests.integration.documents.dirty import DIRTY, Dirty

#: The rescan is far away: what was read is appended because it was read.
CONFIG = """\
streams:
  articles:
    source: {folder: ./docs, rescan: 10m, include: ['**/*'], watch: %s}
    recipe:
      embed: {model: hash}
      payload: {title: title, type: type, path: path, pages: pages, author: author}
"""
BAD = (
    "text bomb.docx",
    "declares too little.docx",
    "overlapping.docx",
    "cut.docx",
    "laughs.docx",
    "outside.xlsx",
    "deep.docx",
    "truncated.pdf",
    "rubbish.pdf",
    "locked.pdf",
    "scanned.pdf",
    "image.pdf",
    "letter.doc",
    "letter.rtf",
    "program",
    "noise.txt",
    "deep.html",
    "deep tables.html",
    "open tags.html",
    "nuls.html",
    "short latin.txt",
)
GOOD = ("climbs.docx", "no xref.pdf", "escape.pdf", "document.md", "rtl.html", "says utf8 is latin.html", "utf16.txt")
PLAIN = {f"notes/{number}.md": f"# Note {number}\n\nThe pump at gate {number} freezes.\n" for number in range(30)}


def parsers(worker: int) -> list[psutil.Process]:
    """The processes that parse for a worker. Each knows whose it is, also when that is gone."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "headwater.documents.worker" in line and line[-1] == str(worker):
            found.append(process)
    return found


def dirty(name: str) -> Dirty:
    return next(it for it in DIRTY if it.name == name)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with closing(Cli(tmp_path)) as made:
        made.write("headwater.yaml", CONFIG % "true")
        (tmp_path / "docs").mkdir()
        yield made


@pytest.fixture(autouse=True)
def extra() -> None:
    if parsers_missing() and not os.environ.get("CI"):
        pytest.skip("the extra `documents` is not installed")


def put(cli: Cli, name: str, data: bytes) -> None:
    path = cli.folder / "docs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def indexed(cli: Cli) -> dict[str, str]:
    return {line["id"]: "".join(it["text"] for it in line["chunks"]) for line in cli.lines("export", "articles")}


def dead(cli: Cli) -> dict[str, str]:
    return {it["id"]: it["reason"] for it in cli.json("dead", "list", "articles", "--json")["dead"]}


def check(cli: Cli) -> None:
    """What must be in the end."""
    shown, letters = indexed(cli), dead(cli)
    assert sorted(letters) == sorted(BAD)
    for name in BAD:
        assert re.search(dirty(name).rejected or "", letters[name]), (name, letters[name])
    assert sorted(shown) == sorted([*GOOD, *PLAIN, "first.md"])
    for name in GOOD:
        assert (dirty(name).read or "") in shown[name]
    assert cli.json("verify", "articles", "--json")["ok"]


def test_good_documents_are_not_delayed_and_bad_ones_are_dead_letters(cli: Cli) -> None:
    for name in (*BAD, *GOOD):
        put(cli, name, dirty(name).data())
    worker = cli.start("run")
    wait_for(worker, "stream.started")
    with heard(worker) as lines:
        # While bombs go off.
        for name, text in PLAIN.items():
            put(cli, name, text.encode())
        cli.write("docs/first.md", "first")
        until(lambda: set(PLAIN) <= set(indexed(cli)), said=lines)
        until(lambda: len(dead(cli)) == len(BAD), within_s=150, said=lines)
        until(lambda: set(GOOD) <= set(indexed(cli)), said=lines)
        check(cli)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    assert parsers(worker.pid) == []
    assert not [line for line in lines if "paused" in line or "halted" in line]
    # Nothing is read again, and nothing is told twice.
    again = cli("run", "--once")
    assert "0 changes settled" in again.stdout + again.stderr
    check(cli)
    # One that is mended is searchable, and another try closes its letter.
    put(cli, "cut.docx", making.docx(making.paragraph("Mended.")))
    cli("run", "--once")
    assert "Mended." in indexed(cli)["cut.docx"]
    cli("dead", "retry", "articles", "--all")
    cli("run", "--once")
    assert sorted(dead(cli)) == sorted(set(BAD) - {"cut.docx"})


def test_without_a_watch_what_was_read_is_appended_before_the_rescan(cli: Cli) -> None:
    cli.write("headwater.yaml", CONFIG % "false")
    put(cli, "manual.pdf", making.pdf(making.stream(making.content("The valve leaks.")), title="Valves"))
    worker = cli.start("run")
    wait_for(worker, "stream.started")
    with heard(worker) as lines:
        until(lambda: "The valve leaks." in indexed(cli).get("manual.pdf", ""), said=lines)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
    (hit,) = cli.json("search", "articles", "valve", "--json")["hits"]
    assert hit["payload"] == {
        "title": "Valves",
        "type": "application/pdf",
        "path": "manual.pdf",
        "pages": 1,
        "author": "Ada",
    }


def test_a_worker_that_is_killed_leaves_no_parser_behind(cli: Cli) -> None:
    put(cli, "huge stream.pdf", dirty("huge stream.pdf").data())
    cli.write("docs/first.md", "first")
    worker = cli.start("run")
    wait_for(worker, "stream.started")
    with heard(worker) as lines:
        # One serves, and what it has forked parses.
        until(lambda: len(parsers(worker.pid)) > 1, said=lines)
        worker.kill()
        worker.wait(20)
    until(lambda: parsers(worker.pid) == [])
    done = cli.start("run", "--once")
    assert done.wait(150) == 0
    assert parsers(done.pid) == []
    assert sorted(dead(cli)) == ["huge stream.pdf"]
    assert cli.json("verify", "articles", "--json")["ok"]


def test_a_document_that_was_mended_or_removed_is_no_dead_letter_any_more(cli: Cli) -> None:
    mended, removed, left = names = ("cut.docx", "truncated.pdf", "letter.rtf")
    for name in names:
        put(cli, name, dirty(name).data())
    cli("run", "--once")
    assert sorted(dead(cli)) == sorted(names)
    put(cli, mended, dirty(GOOD[0]).data())
    (cli.folder / "docs" / removed).unlink()
    cli("run", "--once")
    assert list(dead(cli)) == [left]
    assert list(indexed(cli)) == [mended]
