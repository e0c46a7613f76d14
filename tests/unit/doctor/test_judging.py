"""What the doctor says of facts that no folder of a test can be: other machines, other users' rights, other times."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.doctor.faults import FAULTS, Fault, Group
from headwater.doctor.files import FoundContent, FoundFile, FoundPlace, NamedFile, Shape, judge_file, sound_file
from headwater.doctor.machine import FoundMachine, judge_machine, mounted_on, network_kind, read_mounts
from headwater.doctor.models import AskedModel, Outcome, judge_drift, judge_model
from headwater.doctor.reference import reference
from headwater.doctor.settings import judge_warnings, literal_secrets, without_secrets
from headwater.doctor.sources import FoundFolder, Reading, inside, judge_folder, judge_places, why_no_text
from headwater.doctor.streams import FoundStream, judge_stream
from headwater.embedding.port import Description
from headwater.errors import Denied, HeadwaterError, Misconfigured, Reject, Retry, Unreachable
from headwater.observability.findings import Finding, Severity
from headwater.settings.nodes import Parsing

GIB = 1 << 30
MACHINE = FoundMachine("3.11.7", "Linux x86_64", (3, 40, 1), frozenset(), 1024)
NAMED = NamedFile("/data/a.db", "/data", ("log", "index"), "log")
KNOWN = {"log": 2, "index": 2}
HERE = FoundPlace(free=GIB)
FILE = FoundFile(NAMED, Shape.FILE, HERE, size=5, content=FoundContent({"log": 2, "index": 2}))
READING = Reading("articles", "/docs", ("**/*.md",))
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
    )
    assert mounted_on(mounts, "/home/a.db") == "ext4"
    assert mounted_on(mounts, "/mnt/my disk/a.db") == "xfs"
    assert mounted_on(mounts, "/mnt/a.db") == "cifs"  # it hides the one that was mounted there before
    assert mounted_on(mounts, "/mntx/a.db") == "ext4"
    assert mounted_on([], "/a") == ""
    assert [kind for kind in ("nfs4", "fuse.sshfs", "ext4", "fuseblk") if network_kind(kind)] == ["nfs4", "fuse.sshfs"]


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
        (replace(FOLDER, files=0, matched=0, looked=0), ["source-empty"]),
        (replace(FOLDER, matched=0, looked=0, example="**/*.rst"), ["include-nothing"]),
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
    shown = str(without_secrets(root))
    assert "hunter2" not in shown
    for kept in ("kafka://b:9092", "PLAIN", "./docs", "**/*.md", "openai/x"):
        assert kept in shown
    assert list(literal_secrets(root)) == ["log.security.password"]


def test_two_streams_on_one_folder_are_one_finding() -> None:
    twice = [READING, replace(READING, stream="again")]
    assert [it.subject for it in judge_places(twice, [])] == ["streams.again.source.folder"]
    assert faults(judge_places([READING, replace(READING, stream="beside", folder="/docs2")], [])) == []
    assert inside("/docs/a", "/docs")
    assert inside("/docs", "/")
    assert not inside("/docs2", "/docs")


@given(st.text())
def test_text_that_is_cut_anywhere_is_still_text(text: str) -> None:
    encoded = f"x{text}".encode()
    assert why_no_text(encoded, cut=False) == ""
    for at in range(1, len(encoded)):
        assert why_no_text(encoded[:at], cut=True) == ""


def test_what_is_no_text() -> None:
    assert why_no_text("Straße".encode("latin-1"), cut=False) == "not UTF-8"
    assert why_no_text("ß".encode()[:1], cut=False) == "not UTF-8"
    assert why_no_text(b"%PDF-1.7", cut=True) == "PDF"


SAID = Unreachable("openai/x", "one.invalid: it has no such model, or nothing at this address (HTTP 404)", "Check")


@pytest.mark.parametrize(
    ("asked", "error", "check", "step"),
    [
        (ASKED, SAID, "model-name", "Check"),
        (replace(ASKED, url="https://one.invalid"), SAID, "model-address", "`url: https://one.invalid/v1`"),
        (
            replace(ASKED, model="tei/x", url="https://one.invalid/embed"),
            SAID,
            "model-address",
            "`url: https://one.invalid`",
        ),
        (ASKED, Retry("openai/x", "one.invalid cannot be reached"), "model-away", "Check `url`"),
        (
            replace(ASKED, proxy="HTTPS_PROXY"),
            Retry("openai/x", "one.invalid did not answer within 8 s"),
            "model-proxy",
            "NO_PROXY=one.invalid",
        ),
        (ASKED, Denied("openai/x", "one.invalid: the key is refused (HTTP 401)", "Look"), "model-key", "Look"),
        (ASKED, Reject("the service refuses it (HTTP 400)"), "model-refuses", "See to the service"),
        (
            ASKED,
            Misconfigured("streams.a.recipe.embed.key", "a key", "none", hint="set it"),
            "model-settings",
            "set it",
        ),
        (
            ASKED,
            Unreachable("openai/x", "one.invalid: its certificate is not trusted", "Name the file"),
            "model-tls",
            "Name the file",
        ),
    ],
)
def test_why_a_model_does_not_answer(asked: AskedModel, error: HeadwaterError, check: str, step: str) -> None:
    (finding,) = judge_model(asked, Outcome(error))
    assert finding.check == check
    assert step in finding.next


def test_a_model_that_answers() -> None:
    assert faults(judge_model(ASKED, Outcome(model=MODEL, alike=0.9))) == []
    assert faults(judge_model(replace(ASKED, url="http://one.invalid"), Outcome(model=MODEL))) == ["model-clear"]
    assert faults(judge_model(replace(ASKED, url="http://[::1]", loopback=True), Outcome(model=MODEL))) == []
    assert faults(judge_drift("articles", 0.989)) == ["model-drift"]
    assert faults(judge_drift("articles", 0.99)) == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (STREAM, []),
        (replace(STREAM, changes=2, worker=7, oldest_s=59.0), []),
        (replace(STREAM, changes=2, worker=7, oldest_s=61.0), ["lag"]),
        (replace(STREAM, changes=2, alone=False, oldest_s=61.0), ["lag"]),
        (replace(STREAM, changes=2, oldest_s=61.0), ["not-running"]),
        (replace(STREAM, changes=2, paused="by hand"), ["paused"]),
        (replace(STREAM, indexed=False), ["index-missing"]),
        (replace(STREAM, obstacle=Retry("log", "away")), ["opening"]),
    ],
)
def test_a_stream(found: FoundStream, expected: list[str]) -> None:
    assert faults(judge_stream(found)) == expected


def test_what_lint_warns_of_is_found() -> None:
    (finding,) = judge_warnings([Misconfigured("log.security.ca", "a file", "there is none", "a.yaml", 3, 4, "put it")])
    assert (finding.check, finding.subject, finding.next) == ("lint", "a.yaml:3:4", "Put it")


def test_the_reference_has_every_fault_in_its_group() -> None:
    _, *parts = reference().split("\n## ")
    sections = {part.partition("\n")[0]: part for part in parts}
    for fault in FAULTS.values():
        assert f"| `{fault.check}` | {fault.severity.value} |" in sections[fault.group.value.capitalize()]
    # What is wrong with a log in a file is found with the files, and with one on a Kafka in `log.health`.
    assert [group for group in Group if group.value.capitalize() not in sections] == [Group.LOG]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_fault_says_why_it_matters_and_what_to_do(fault: Fault) -> None:
    assert len(fault.why) > 10
    assert fault.next
    assert fault.severity is not Severity.OK
