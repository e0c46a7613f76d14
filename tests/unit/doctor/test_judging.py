"""What the doctor says of facts that no folder of a test can be: other machines, other users' rights, other times."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headwater.doctor.faults import FAULTS
from headwater.doctor.files import FoundContent, FoundFile, FoundPlace, NamedFile, Shape, judge_file, sound_file
from headwater.doctor.machine import FoundMachine, judge_machine, mounted_on, network_kind, read_mounts
from headwater.doctor.models import AskedModel, Outcome, judge_model
from headwater.doctor.reference import reference
from headwater.doctor.settings import judge_secrets, judge_settings, literal_secrets, without_secrets
from headwater.doctor.sources import (
    FoundFolder,
    Reading,
    around,
    inside,
    judge_folder,
    needs_parser,
    why_no_document,
)
from headwater.doctor.streams import FoundStream
from headwater.embedding.port import Description
from headwater.observability.findings import Finding, Severity
from headwater.recipe.enrich import MAX_CONTEXT
from headwater.recipe.options import Chunking
from headwater.settings.loading import read
from headwater.settings.nodes import Parsing
from headwater.settings.schema import Settings
from headwater.sources.selecting import Choice

GIB = 1 << 30
MACHINE = FoundMachine("3.11.7", "Linux x86_64", (3, 40, 1), frozenset(), 1024)
NAMED = NamedFile("/data/a.db", "/data", ("log", "index"), "log")
KNOWN = {"log": 2, "index": 2}
HERE = FoundPlace(free=GIB)
FILE = FoundFile(NAMED, Shape.FILE, HERE, size=5, content=FoundContent({"log": 2, "index": 2}))
READING = Reading("articles", "/docs", Choice(("**/*.md",)))
FOLDER = FoundFolder(READING, files=2, matched=2, looked=2)
MODEL = Description(name="openai/x", fingerprint="", dimensions=3, max_texts=8, max_characters=1000)
ASKED = AskedModel("articles", "openai/x", "https://one.invalid/v1", "there")
STREAM = FoundStream("articles", "/data/a.db", 60.0, settled=3, indexed=True)


def faults(findings: object) -> list[str]:
    assert not isinstance(findings, Finding)
    return [it.check for it in findings if it.severity is not Severity.OK]  # type: ignore[attr-defined]  # any iterable


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (MACHINE, []),
        (replace(MACHINE, sqlite=(3, 36, 0)), ["sqlite-old"]),
        (replace(MACHINE, sqlite_options=frozenset({"THREADSAFE=0"})), ["sqlite-threads"]),
        (replace(MACHINE, open_files=127), ["open-files"]),
        (replace(MACHINE, open_files=128), []),
        (replace(MACHINE, open_files=None), []),
        (replace(MACHINE, temp_variable="TMPDIR", temp_folder="/away"), ["temp-folder"]),
        (replace(MACHINE, watches=8), ["watches"]),
        (replace(MACHINE, watches=9), []),
    ],
)
def test_the_machine(machine: FoundMachine, expected: list[str]) -> None:
    assert faults(judge_machine(machine, streams=2, folders=9)) == expected


def test_a_path_lies_on_the_nearest_mount() -> None:
    mounts = read_mounts(
        "rootfs / ext4 rw\nhost:/x /mnt nfs4 rw\n/dev/b /mnt/my\\040disk xfs rw\nc /mnt cifs rw\nbroken\n"
        "d /Stra\u00dfe zfs rw\n"
    )
    assert mounted_on(mounts, "/Stra\u00dfe/a.db") == "zfs"
    assert mounted_on(mounts, "/home/a.db") == "ext4"
    assert mounted_on(mounts, "/mnt/my disk/a.db") == "xfs"
    assert mounted_on(mounts, "/mnt/a.db") == "cifs"  # it hides the one that was mounted there before
    assert mounted_on(mounts, "/mntx/a.db") == "ext4"
    assert mounted_on([], "/a") == ""
    assert [kind for kind in ("nfs4", "fuse.sshfs", "ext4", "fuseblk") if network_kind(kind)] == ["nfs4", "fuse.sshfs"]


_SERVICES = """\
accounts: {main: {price: 1}}
streams:
  paid: {recipe: {embed: {model: openai/x, account: main}}}
  %s: {source: {folder: ./docs, %s}, freshness: 5s, recipe: {embed: {%s}}}
"""
_HERE = "url: 'http://127.0.0.1:1/v1'"


@pytest.mark.parametrize(
    ("source", "embed", "expected"),
    [
        ("watch: true", "model: openai/x, account: main, key: dummy", ["secret-open"]),
        ("watch: false", "model: static", ["freshness-rescan"]),
        ("watch: true", "model: openai/x", ["account-none"]),
        ("watch: true", f"model: openai/x, key: dummy, {_HERE}", []),
        ("watch: true", "model: ollama/x", []),
        ("watch: true", "model: ollama/x, url: 'https://x.invalid'", ["account-none"]),
    ],
)
def test_what_contradicts_itself(tmp_path: Path, source: str, embed: str, expected: list[str]) -> None:
    file = tmp_path / "headwater.yaml"
    file.write_text(_SERVICES % ("more", source, embed))
    settings, root = read(file, {})
    found = [
        *judge_settings(settings, "a"),
        *judge_secrets(settings, literal_secrets(root), "a", 0o644, exposed=True),
    ]
    assert faults(found) == expected


@pytest.mark.parametrize(
    ("overlap", "told"), [(0, "size: 400, maximum: 800"), (600, "size: 400, maximum: 600, overlap: 200")]
)
def test_what_a_model_has_room_for(overlap: int, told: str) -> None:
    model = structs.replace(MODEL, max_text_tokens=250)
    asked = replace(ASKED, longest=MAX_CONTEXT + 1000, overlap=overlap)
    *_, finding = judge_model(asked, Outcome(model=model, alike=0.0))
    assert finding.check == "chunk-model"
    assert f"`chunk: {{{told}}}`" in finding.next
    chunk = Chunking(**{name: int(number) for name, number in re.findall(r"(\w+): (\d+)", told)})
    assert MAX_CONTEXT + chunk.most + chunk.overlap <= 1000


def test_no_place_is_left_without_its_fact() -> None:
    finding = FAULTS["payload-absent"].found("s", path="a.b", field="a", looked=1, fate="it is dead")
    assert finding.why.endswith("the field; it is dead")
    assert not re.search(r"(?<!\$)\{[a-z_]+\}", reference())


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (FILE, []),
        (replace(FILE, shape=Shape.NOTHING), []),
        (replace(FILE, place=replace(HERE, free=1)), ["disk"]),
        (replace(FILE, size=20 * GIB), ["disk"]),
        (replace(FILE, place=replace(HERE, free=None, there=False, writable=False)), ["folder-missing"]),
        (replace(FILE, place=replace(HERE, writable=False)), ["folder-denied"]),
        (replace(FILE, place=replace(HERE, filesystem="nfs4")), ["network-disk"]),
        (replace(FILE, usable=False), ["file-denied"]),
        (replace(FILE, shape=Shape.OTHER), ["file-kind"]),
        (replace(FILE, content=FoundContent({"log": 3, "index": 2})), ["file-newer"]),
        (replace(FILE, content=FoundContent({"log": 1, "other": 9})), []),
        (replace(FILE, mode=0o666), []),
        (replace(FILE, mode=0o666, exposed=True), ["data-writable"]),
        (replace(FILE, mode=0o644, exposed=True), ["data-open"]),
        (replace(FILE, mode=0o640, exposed=True), []),
    ],
)
def test_a_file(found: FoundFile, expected: list[str]) -> None:
    assert faults(judge_file(found, KNOWN, "articles")) == expected


def test_a_file_that_others_may_read_as_they_may_the_documents_is_in_order() -> None:
    assert faults(judge_file(replace(FILE, mode=0o644, exposed=True), KNOWN)) == []


def test_a_damaged_log_is_not_to_be_removed() -> None:
    damaged = replace(FILE, content=FoundContent(damage="page 3"))
    (finding,) = judge_file(damaged, KNOWN)
    assert "backup" in finding.next
    index = replace(damaged, named=replace(NAMED, roles=("index",)))
    assert "again from the log" in next(iter(judge_file(index, KNOWN))).next


def test_only_a_sound_and_current_file_is_asked() -> None:
    assert sound_file(FILE, KNOWN)
    assert not sound_file(replace(FILE, shape=Shape.NOTHING), KNOWN)
    assert not sound_file(replace(FILE, content=FoundContent({"log": 1})), KNOWN)  # asking would bring it up to date
    assert not sound_file(replace(FILE, content=FoundContent(damage="page 3")), KNOWN)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (FOLDER, []),
        (FoundFolder(READING, "denied", "Permission denied"), ["source-denied"]),
        (replace(FOLDER, filesystem="nfs4"), ["source-network"]),
        (replace(FOLDER, shared="others", shared_example="a.md"), ["source-nested"]),
        (replace(FOLDER, files=0, matched=0, looked=0), ["source-empty"]),
        (replace(FOLDER, matched=0, looked=0, example="**/*.rst"), ["include-nothing"]),
        (replace(FOLDER, matched=0, looked=0, left=3), ["exclude-all"]),
        (replace(FOLDER, matched=1, left=3), []),
        (replace(FOLDER, files=0, matched=0, looked=0, left=1), ["exclude-all"]),
        (replace(FOLDER, looked=4, parsed=1, bare=True), ["documents-extra"]),
        (replace(FOLDER, looked=4, parsed=1), []),
        (replace(FOLDER, looked=4, bad={"PDF": 2}), []),
        (replace(FOLDER, looked=4, bad={"PDF": 2, "not UTF-8": 1}), ["unreadable"]),
    ],
)
def test_a_source_folder(found: FoundFolder, expected: list[str]) -> None:
    assert faults(judge_folder(found)) == expected


CONFIGURATION = """\
log: {url: 'kafka://b:9092', security: {protocol: sasl_ssl, password: hunter2, mechanism: PLAIN}}
passwords: {mine: hunter2}
cache: {url: 'sqlite:///c.db', key: hunter2}
streams:
  a:
    source: {folder: ./docs, include: ['**/*.md']}
    recipe: {embed: {model: openai/x, url: 'https://me:hunter2@one.invalid', key: "${env:KEY} hunter2"}}
"""


def test_no_secret_is_left_in_what_is_shown_of_a_configuration() -> None:
    root = Parsing("a.yaml").read(CONFIGURATION)
    assert root is not None
    shown = str(without_secrets(Settings, root, {"folder": Path("/")}))
    assert "hunter2" not in shown
    for kept in ("kafka://b:9092", "PLAIN", "./docs", "**/*.md", "openai/x"):
        assert kept in shown
    assert list(literal_secrets(root)) == ["log.security.password"]


def test_whose_folders_hold_a_folder() -> None:
    again, beside = replace(READING, stream="again"), replace(READING, stream="beside", folder="/docs2")
    above, below = replace(READING, stream="above", folder="/"), replace(READING, stream="below", folder="/docs/a")
    all_ = [READING, again, beside, above, below]
    names = {it.stream: [other.stream for other in around(it, all_)] for it in all_}
    # Of two streams on one folder the later one alone has the other around it, so they are one finding.
    assert names == {
        "articles": ["above"],
        "again": ["articles", "above"],
        "beside": ["above"],
        "above": [],
        "below": ["articles", "again", "above"],
    }
    assert inside("/docs/a", "/docs")
    assert inside("/docs", "/")
    assert not inside("/docs2", "/docs")


@given(st.text())
def test_text_that_is_cut_anywhere_is_still_text(text: str) -> None:
    encoded = f"x{text}".replace("\0", "").encode()
    for at in range(1, len(encoded) + 1):
        assert not needs_parser("a.md", encoded[:at], cut=at < len(encoded))
        assert why_no_document(encoded[:at]) == ""


@pytest.mark.parametrize(
    ("head", "parsed", "reason"),
    [
        ("Straße".encode("latin-1"), True, ""),
        ("Straße".encode("utf-16"), True, ""),
        (b"%PDF-1.7\n\xff\0", True, ""),
        (b"PK\x03\x04\0", True, ""),
        (b"<!doctype html><p>", True, ""),
        (b"{\\rtf1", False, "RTF"),
        (b"\x89PNG\r\n\x1a\n\0\0", True, "binary data"),
    ],
)
def test_what_is_more_than_text(head: bytes, parsed: bool, reason: str) -> None:
    assert needs_parser("a.txt", head, cut=False) == parsed
    assert why_no_document(head) == reason
