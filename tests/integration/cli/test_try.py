"""`headwater try`: shows all that becomes of a file, and touches nothing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from .process import Cli

CONFIG = """\
streams:
  pages:
    source: {folder: ./pages}
    recipe:
      redact: all
      filter: body.text.contains("open") || body.text.contains("Contact")
      chunk: {size: 120, overlap: 40}
      payload: {title: title}
  asked:
    recipe:
      embed: {model: openai/nobody, url: 'http://127.0.0.1:9/v1', key: k}
      payload: {owner: {from: owner, required: true}}
"""
TEXT = """\
# Contact

Write to alice@example.com or call +49 30 901820. The office is open on Monday. Bring the card 4111 1111 1111 1111.
Then sign. Nobody waits for long here. A second sentence makes this longer than a chunk may be. And a third one.
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.write("headwater.yaml", CONFIG)
    made.write("pages/sub/contact.md", TEXT)
    return made


def test_it_shows_what_becomes_of_a_file_and_writes_nothing(cli: Cli) -> None:
    before = sorted(cli.folder.rglob("*"))
    shown = cli.json("try", "pages/sub/contact.md", "--json")
    assert sorted(cli.folder.rglob("*")) == before
    assert (shown["stream"], shown["id"], shown["format"]) == ("pages", "sub/contact.md", "markdown")
    assert [(it["kind"], TEXT[it["start"] : it["end"]]) for it in shown["redacted"]] == [
        ("email", "alice@example.com"),
        ("phone", "+49 30 901820"),
        ("card", "4111 1111 1111 1111"),
    ]
    assert [(it["line"], it["column"]) for it in shown["redacted"]] == [(3, 10), (3, 36), (3, 96)]
    assert shown["characters"] == len(shown["text"])
    chunks = shown["chunks"]
    assert len(chunks) >= 2
    assert "".join(shown["text"][it["start"] : it["end"]] for it in chunks) == "".join(it["text"] for it in chunks)
    assert any(it["overlap"] for it in chunks)
    assert chunks[1]["context"] == "Contact\n\n"
    assert all(it["tokens"] > 0 and not it["too_long"] for it in chunks)
    assert shown["payload"] == {"title": "Contact"}
    assert shown["fingerprints"]["text"]["covers"]["redact"] == ["card", "email", "iban", "ip", "key", "phone"]
    assert all(it["digest"] for it in shown["fingerprints"].values())


def test_people_see_places_and_never_values(cli: Cli) -> None:
    said = cli("try", "pages/sub/contact.md").stdout
    assert "redacted: card 1, email 1, phone 1" in said
    assert "line 3, column 10: email, 17 characters" in said
    assert "\x1b" not in said
    for secret in ("alice", "901820", "4111"):
        assert secret not in said


def test_colours_are_for_terminals_and_documents_cannot_steer_them(cli: Cli) -> None:
    cli.write("pages/steer.md", "Contact \x1b]0;owned\x07 us.\n")
    parent, child = pty.openpty()
    try:
        command = [sys.executable, "-m", "headwater", "try", "pages/steer.md"]
        environment = {**cli.environment, "TERM": "xterm"}
        subprocess.run(command, cwd=cli.folder, env=environment, stdout=child, check=True, timeout=60)
        said = os.read(parent, 65536).decode()
    finally:
        os.close(parent)
        os.close(child)
    assert "\x1b[1mdocument:\x1b[0m" in said
    assert "\x1b]" not in said
    assert "\x07" not in said


def test_it_says_what_would_be_rejected_or_filtered(cli: Cli) -> None:
    cli.write("pages/dull.md", "Nothing of interest.")
    assert cli.json("try", "pages/dull.md", "--json")["filtered"] is True
    assert "it is in no index" in cli("try", "pages/dull.md").stdout
    cli.write("pages/bob@example.com.md", "It is open.")
    named = cli("try", "pages/bob@example.com.md", code=1).stdout
    assert "an id is not redacted" in named
    assert "bob" not in named
    cli.write("other.txt", "text")
    owner = json.loads(cli("try", "other.txt", "--stream", "asked", "--json", code=1).stdout)
    assert "requires" in owner["rejected"]
    assert owner["chunks"] == []


def test_a_model_behind_a_service_is_not_asked(cli: Cli) -> None:
    shown = json.loads(cli("try", "-", "--stream", "asked", "--json", code=1, stdin="text").stdout)
    assert shown["id"] == "stdin"
    assert shown["fingerprints"]["model"]["digest"] is None
    assert shown["fingerprints"]["text"]["digest"]


def test_mistakes_are_said(cli: Cli) -> None:
    assert "--stream with one of" in cli("try", "-", stdin="x", code=2).stderr
    assert "No such file" in cli("try", "pages/nothing.md", code=2).stderr


def test_what_cannot_be_read_is_rejected(cli: Cli) -> None:
    (cli.folder / "pages/binary.md").write_bytes(b"%PDF-1.7\n\0")
    shown = cli.json("try", "pages/binary.md", "--json", code=1)
    assert (shown["id"], shown["rejected"], shown["type"], shown["text"]) == ("binary.md", "a damaged PDF", None, "")
    assert "rejected: a damaged PDF" in cli("try", "pages/binary.md", code=1).stdout


def test_a_document_is_tried_with_what_it_says_of_itself(cli: Cli) -> None:
    page = "<!doctype html><title>For alice@example.com</title><h1>Contact</h1><p>We open on Monday.</p>"
    cli.write("pages/a.html", page)
    shown = cli.json("try", "pages/a.html", "--json")
    assert (shown["type"], shown["format"], shown["text"]) == (
        "text/html",
        "markdown",
        "# Contact\n\nWe open on Monday.\n",
    )
    assert shown["payload"] == {"title": "For [email]"}
    assert shown["chunks"][0]["context"] == "For [email]\n\n"


CHOOSING = """\
streams:
  pages:
    source: {folder: ./pages, include: ['**/*.md'], exclude: [drafts/]}
    recipe: {redact: email}
"""


def test_it_says_why_the_folder_leaves_a_file_out(cli: Cli) -> None:
    cli.write("headwater.yaml", CHOOSING)
    cli.write("pages/a.rst", "text")
    cli.write("pages/drafts/b.md", "text")
    cli.write("pages/sub/.headwaterignore", "bob*\n")
    cli.write("pages/sub/bob@example.org.md", "text")
    cli.write("elsewhere/d.md", "text")
    (cli.folder / "pages/link.md").symlink_to(cli.folder / "elsewhere/d.md")
    (cli.folder / "pages/linked").symlink_to(cli.folder / "elsewhere")
    with (cli.folder / "pages/large.md").open("wb") as large:
        large.truncate((32 << 20) + 1)
    for name, reason in {
        "a.rst": "the folder leaves it out: `include` does not name it",
        "drafts/b.md": "the folder leaves it out: `exclude` names drafts",
        "sub/bob@example.org.md": "the folder leaves it out: sub/.headwaterignore names sub/[email]",
        "link.md": "the folder leaves it out: link.md is a symbolic link",
        "linked/d.md": "the folder leaves it out: linked is a symbolic link",
        "large.md": "larger than 32 MiB",
    }.items():
        shown = cli.json("try", f"pages/{name}", "--stream", "pages", "--json", code=1)
        assert shown["rejected"].startswith(reason)
        assert shown["chunks"] == []
    # What is not in the folder is left out by nothing.
    assert cli.json("try", "elsewhere/d.md", "--json")["rejected"] is None
    assert cli.json("try", "pages/sub/contact.md", "--json")["rejected"] is None


def test_only_files_are_read_and_no_more_than_a_document_may_have(cli: Cli) -> None:
    os.mkfifo(cli.folder / "pages/fifo.md")
    for path in ("pages/fifo.md", "/dev/zero", "pages"):
        assert "no regular file" in cli("try", path, "--stream", "pages", code=2).stderr
    command = [sys.executable, "-m", "headwater", "try", "-", "--stream", "pages"]
    with Path("/dev/zero").open("rb") as endless:
        done = subprocess.run(
            command, cwd=cli.folder, env=cli.environment, stdin=endless, capture_output=True, timeout=60
        )
    assert (done.returncode, b"larger than 32 MiB" in done.stdout) == (1, True)


def test_people_see_the_text_and_where_it_goes_on(cli: Cli) -> None:
    said = cli("try", "pages/sub/contact.md").stdout
    assert "text: all of it\n  | # Contact\n  | \n  | Write to [email]" in said
    cli.write("pages/dull.md", "Nothing of interest.")
    assert "  | Nothing of interest.\n" in cli("try", "pages/dull.md").stdout
    cli.write("pages/long.md", "open\n" * 100)
    said = cli("try", "pages/long.md").stdout
    assert "text: how it begins; --json writes all of it\n" in said
    assert said.count("  | open\n") == 12


def test_it_shows_what_the_index_would_have(cli: Cli) -> None:
    # Redacted on the way into the log, and once more on the way out: behind digits and a dot come decimals, not cards.
    cli.write("pages/twice.md", "Contact tel 02-731-2120.4111111111111111")
    assert cli.json("try", "pages/twice.md", "--json")["text"] == "Contact tel [phone].[card]"
