"""Planted secrets are in nothing that was written: a search for their bytes, after all that may happen to a document.

Real processes, a provider that refuses texts, a cache, dead letters, edits and deletes. What is searched: every file
but the user's own, what the processes said, and what the provider was sent.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from headwater.documents.plain import plain
from headwater.model.change import digest_value
from tests.provider.provider import Provider

Start = Callable[..., Provider]

SECRETS = {
    "email": "zelda.quartz@nowhere-secret.org",
    "phone": "+44 20 7946 0958",
    "card": "4539 1488 0343 6467",
    "iban": "GB82 WEST 1234 5698 7654 32",
    "ip": "203.0.113.77",
    "key": "ghp_Zq7" + "xW3rT9yU1" * 4,
}
ALL = " and ".join(SECRETS.values())
#: Where little stands beside a secret.
SHORT = {"short-1.txt": f"Short: {SECRETS['phone']}\n", "short-2.txt": f"Short: {SECRETS['card']}\n"}
CONFIG = """\
log: sqlite:///log.db
cache: {{url: 'sqlite:///cache.db'}}
streams:
  docs:
    source: {{folder: ./docs, rescan: 1s}}
    recipe:
      redact: all
      chunk: {{size: 200, overlap: 60}}
      payload: {{title: title, author: author}}
      embed: &embed {{model: openai/fake-embedding, url: '{url}/v1', key: k}}
    index: sqlite:///index.db
  notes:
    recipe:
      redact: [key, email, iban, card, ip, phone]
      filter: body.text != "nothing"
      payload: {{kind: {{from: kind, required: true}}, meta: meta, title: title}}
      embed: *embed
    index: sqlite:///index.db
"""
#: The program with a safeguard replaced, as a line of Python.
PROGRAM = "import headwater.journal, headwater.sources.folder\n{}\nfrom headwater.cli import main\nmain()"
WHOLE = "pass"
RUN = ("run", "--once", "--log-format", "json", "-v")


class Place:
    """A folder with a configuration, and everything that processes said in it."""

    def __init__(self, folder: Path, provider: Provider, program: str) -> None:
        self.folder, self.provider, self.program = folder, provider, PROGRAM.format(program)
        self.said: list[bytes] = []
        folder.mkdir(exist_ok=True)
        (folder / "docs").mkdir()
        (folder / "headwater.yaml").write_text(CONFIG.format(url=provider.url))

    def call(self, *arguments: str, stdin: str = "", codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [sys.executable, "-c", self.program, *arguments],
            cwd=self.folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("HEADWATER")},
            input=stdin.encode(),
            capture_output=True,
            timeout=120,
        )
        self.said += [done.stdout, done.stderr]
        assert done.returncode in codes, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout.decode()

    def write(self, name: str, text: str | bytes) -> None:
        (self.folder / "docs" / name).write_bytes(text.encode() if isinstance(text, str) else text)

    def written(self) -> Iterator[tuple[str, bytes]]:
        """All that was written, but for the documents and the configuration."""
        for path in sorted(self.folder.rglob("*")):
            if not path.is_file() or "docs" in path.parts or path.name == "headwater.yaml":
                continue
            if path.suffix == ".zip":
                with ZipFile(path) as archive:
                    yield from ((f"{path.name}/{it}", archive.read(it)) for it in archive.namelist())
            else:
                yield path.name, path.read_bytes()
        yield "what the processes said", b"\n".join(self.said)
        yield "what the provider was sent", self.provider.file.read_bytes()

    def leaks(self) -> list[tuple[str, str]]:
        held = list(self.written())
        return [
            (what, where) for what, forms in needles() for where, data in held if any(form in data for form in forms)
        ]


def needles() -> Iterator[tuple[str, list[bytes]]]:
    """Each secret in the forms in which it could lie somewhere; and the digests from which it could be guessed."""
    for kind, secret in SECRETS.items():
        forms = []
        for text in {secret, secret.replace(" ", ""), secret.upper(), json.dumps(secret)[1:-1]}:
            raw = text.encode()
            forms += [raw, text.encode("utf-16-le"), text.encode("utf-16-be"), raw.hex().encode()]
            # In base64 of something longer it may begin at any of three places.
            forms += [base64.b64encode(b"\0" * at + raw)[4 * (at > 0) : -4] for at in range(3)]
        yield kind, forms
    for name, text in SHORT.items():
        read = plain(name, text.encode())
        assert read is not None
        for whole in (hashlib.sha256(text.encode()).digest(), digest_value(read.body(name))):
            yield "a digest", [whole, whole.hex().encode()]


def plant(place: Place) -> None:
    """Put secrets everywhere, and load them once."""
    place.write("plain.md", f"# About {ALL}\n\nText with {ALL}. " + "More of it follows here. " * 30 + f"\n\n{ALL}\n")
    for name, text in SHORT.items():
        place.write(name, text)
    place.write("page.html", f"<!doctype html><title>{ALL}</title><meta name=author content='{ALL}'><p>Page {ALL}</p>")
    place.write("broken.html", f"<!doctype html>{'<div>' * 5_000}{ALL}")
    place.write("edited.md", f"Before {ALL}.")
    place.write("deleted.md", f"To be deleted {ALL}.")
    place.write(f"{SECRETS['email']}.md", "A path may hold one.")
    place.write(f"{SECRETS['email']} of tomorrow.md", "A doctor names one.")
    os.utime(place.folder / f"docs/{SECRETS['email']} of tomorrow.md", (4e9, 4e9))
    place.write(f"not text {SECRETS['ip']}.txt", b"\xff\xfe\xfa")
    place.write("poison.md", f"arsenic {ALL}")
    lines = [
        {"id": "n1", "text": f"Body {ALL}", "kind": f"kind {ALL}", "title": ALL, ALL: 1},
        {"id": "n2", "body": {"text": "t", "kind": 1, "meta": {ALL: [ALL, {"deep": ALL}], "card": 4539148803436467}}},
        {"id": "n3", "text": f"no kind, a dead letter: {ALL}"},
        {"id": "n4", "text": f"arsenic, refused by the provider: {ALL}", "kind": 1},
        {"id": "n5", "text": "x", "kind": 1, "time": ALL},
        {"id": "n6", "text": "x", "kind": 1, "op": ALL},
        {"id": "n7", "text": 7, "kind": ALL},
        {"id": "n8", "text": f"Deleted later {ALL}", "kind": 1},
    ]
    twice = f'{{"id": "n9", "kind": 1, "text": "{ALL}", "text": "the last one counts"}}'
    place.call("publish", "notes", stdin="\n".join([*map(json.dumps, lines), twice]) + "\n")
    refused = [json.dumps({"id": SECRETS["email"], "text": "x"}), f'{{"id": "{ALL}']
    place.call("publish", "notes", stdin="\n".join(refused) + "\n", codes=(1,))
    place.call(*RUN)


def live(place: Place) -> None:
    """Load, edit, delete, fail, look at everything."""
    plant(place)
    place.write("edited.md", f"After {ALL}, and more.")
    (place.folder / "docs/deleted.md").unlink()
    place.call("publish", "notes", stdin='{"id": "n8", "op": "delete"}\n')
    place.call(*RUN)
    place.call("dead", "retry", "notes", "--all")
    place.call(*RUN)
    for stream in ("docs", "notes"):
        place.call("verify", stream, "--json")
        place.call("export", stream, "--deleted", "--vectors")
        place.call("dead", "list", stream, "--all", "--json")
        place.call("dead", "list", stream)
        place.call("search", stream, "text with", "--json")
    for document in ("plain.md", "edited.md", "poison.md", "deleted.md"):
        place.call("trace", "docs", document)
    for document in ("n1", "n3", "n4"):
        place.call("trace", "notes", document, "--json")
    place.call("status", "--json")
    for shown in ((), ("--json",)):
        place.call("try", "docs/plain.md", *shown)
        place.call("try", f"docs/{SECRETS['email']}.md", *shown, codes=(1,))
        place.call("doctor", *shown, codes=(0, 1))
    place.call("doctor", "--bundle", "report.zip", codes=(0, 1))
    place.call("dead", "discard", "notes", "--all")


def start(tmp_path: Path, provider: Start, program: str) -> Place:
    return Place(tmp_path / "site", provider(behaviour={"poison": ["arsenic"]}), program)


def test_no_secret_is_in_anything_that_was_written(tmp_path: Path, provider: Start) -> None:
    place = start(tmp_path, provider, WHOLE)
    live(place)
    assert place.leaks() == []
    # And all of it went through: this is no search of nothing.
    told = b"\n".join(place.said).decode()
    for kind in SECRETS:
        assert f"[{kind}]" in told
    dead = {it["id"] for it in json.loads(place.call("dead", "list", "notes", "--all", "--json"))["dead"]}
    assert dead == {"n3", "n4", "n5", "n6", "n7"}
    assert "its id holds" in told
    exported = [json.loads(line) for line in place.call("export", "docs").splitlines()]
    assert "such as that of [email] of tomorrow.md" in told
    assert {it["id"] for it in exported} == {"plain.md", "short-1.txt", "short-2.txt", "edited.md", "page.html"}


BEFORE = """\
log: sqlite:///log.db
streams:
  notes: {recipe: {embed: {model: hash}}, index: sqlite:///old.db}
  docs: {source: {folder: ./docs}, recipe: {embed: {model: hash}}, index: sqlite:///old-docs.db}
"""
AFTER = """\
log: sqlite:///log.db
cache: {url: 'sqlite:///new-cache.db'}
streams:
  notes:
    recipe: {redact: all, payload: {title: title}, embed: {model: hash}}
    index: sqlite:///new.db
  docs:
    source: {folder: ./docs}
    recipe: {redact: all, embed: {model: hash}}
    index: sqlite:///new-docs.db
"""


def replayed(place: Place) -> set[str]:
    """Fill a log without redaction, and build an index with it from that; return what of the new holds a secret."""
    settings = place.folder / "headwater.yaml"
    settings.write_text(BEFORE)
    for it in ("renamed", "deleted"):
        place.write(f"{it} {SECRETS['email']}.md", f"{it} {ALL}")
    lines = [{"id": f"n{at}", "text": f"{at} {ALL}", "title": ALL} for at in range(5)]
    place.call("publish", "notes", stdin="\n".join(map(json.dumps, [*lines, {"id": SECRETS["email"], "text": "x"}])))
    place.call("run", "--once")
    place.said.clear()
    settings.write_text(AFTER)
    place.call(*RUN)
    # What has such an id can go, and what is said and written of that does not hold it.
    (place.folder / f"docs/deleted {SECRETS['email']}.md").unlink()
    (place.folder / f"docs/renamed {SECRETS['email']}.md").rename(place.folder / "docs/renamed.md")
    place.call("publish", "notes", stdin=json.dumps({"id": SECRETS["email"], "op": "delete"}))
    place.call(*RUN)
    for stream in ("notes", "docs"):
        place.call("verify", stream)
    assert {json.loads(it)["id"] for it in place.call("export", "docs").splitlines()} == {"renamed.md"}
    place.call("export", "notes")
    place.call("dead", "list", "notes")
    return {where for _, where in place.leaks() if where not in {"log.db", "old.db", "old-docs.db"}}


def test_what_a_log_held_before_reaches_nothing_new(tmp_path: Path, provider: Start) -> None:
    place = start(tmp_path, provider, WHOLE)
    assert replayed(place) == set()
    assert ("card", "log.db") in place.leaks(), "redaction does not reach back, and the docs say so"
    assert "record" in place.call("dead", "list", "notes"), "an id that holds something has the name of its record"


def test_without_redaction_at_reading_the_search_finds_it(tmp_path: Path, provider: Start) -> None:
    place = start(tmp_path, provider, "headwater.journal._reading = lambda settings, decode: decode")
    assert "new.db" in replayed(place)


#: Each switches one safeguard off: what is found then, and where.
SWITCHED_OFF = {
    "the log takes what sources append": (
        "headwater.journal._capturing = lambda settings, writer: writer",
        ("card", "log.db"),
    ),
    "a source remembers the digest of the file as it is": (
        ("headwater.sources.folder.FolderSource._cleaned = lambda self, body: body"),
        ("a digest", "log.db"),
    ),
}


@pytest.mark.parametrize("safeguard", SWITCHED_OFF)
def test_without_a_safeguard_the_search_finds_them(tmp_path: Path, provider: Start, safeguard: str) -> None:
    program, found = SWITCHED_OFF[safeguard]
    place = start(tmp_path, provider, program)
    plant(place)
    assert found in place.leaks()
