"""The examination as a whole: what it prints, how it ends, and that one look that fails does not end the others."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

import pytest

from headwater.cli.doctor import ways
from headwater.doctor import examination
from headwater.doctor.bundle import write_bundle
from headwater.doctor.examination import Examination, examine
from headwater.doctor.faults import Group
from headwater.errors import Halt, Retry
from headwater.observability.findings import Severity, in_order
from headwater.settings.templates import template
from tests.integration.cli.process import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with closing(Cli(tmp_path)) as made:
        made.write("headwater.yaml", template())
        made.write("docs/a.md", "# One\n\nA text.\n")
        yield made


def test_what_is_wrong_comes_first_in_its_group_and_the_groups_in_the_order_in_which_they_stand_in_the_way(
    cli: Cli,
) -> None:
    cli.write(
        "headwater.yaml",
        template().replace("rescan: 10s", "watch: false\n      rescan: 5m").replace("model: static", "model: hash"),
    )
    done = cli("doctor")
    print(done.stdout)
    lines = done.stdout.splitlines()
    groups = [line for line in lines if not line.startswith(" ")]
    assert groups == ["configuration", "machine", "sources", "files", "log", "models"]
    assert lines[1].startswith("  ! freshness-rescan: articles: ")
    assert lines[2].startswith("      why: ")
    assert lines[3].startswith("      next: Set `rescan`")
    assert lines[4].startswith("  \N{CHECK MARK} configuration: ")
    assert done.stderr == "0 errors, 2 warnings\n"
    assert "  ! model-hash: hash: " in cli("doctor", PYTHONIOENCODING="ascii").stdout
    assert "  ok worker: " in cli("doctor", PYTHONIOENCODING="ascii").stdout


def test_the_exit_code_is_that_of_the_worst(cli: Cli, tmp_path: Path) -> None:
    assert cli.json("doctor", "--json")["ok"]
    cli.write("headwater.yaml", template().replace("./docs\n", "./away\n"))
    shape = cli.json("doctor", "--json", code=1)
    assert not shape["ok"]
    assert [it["check"] for it in shape["findings"] if it["severity"] == "error"] == ["source-missing"]
    cli.write("headwater.yaml", "streams:\n  articles:\n    freshnes: 60s\n    replay: 5\n")
    shape = cli.json("doctor", "--json", code=3)
    found = [(it["check"], it["subject"]) for it in shape["findings"] if it["severity"] == "error"]
    assert found == [("configuration", "headwater.yaml:3:5"), ("configuration", "headwater.yaml:4:13")]
    (tmp_path / "headwater.yaml").unlink()
    (finding,) = [it for it in cli.json("doctor", "--json", code=3)["findings"] if it["severity"] == "error"]
    assert "`headwater init` writes one" in finding["next"]


def test_a_kafka_without_its_client_is_not_reached(cli: Cli, tmp_path: Path) -> None:
    cli.write("shims/confluent_kafka/__init__.py", "raise ImportError('not here')\n")
    cli.environment["PYTHONPATH"] = f"{tmp_path / 'shims'}:{cli.environment.get('PYTHONPATH', '')}"
    cli.write("headwater.yaml", "log: kafka://127.0.0.1:1\nstreams: {docs: {}}\n")
    (finding,) = [it for it in cli.json("doctor", "--json", code=4)["findings"] if it["severity"] == "error"]
    assert "headwater[kafka]" in finding["next"]


def test_no_secret_and_no_text_is_shown(cli: Cli) -> None:
    service = "model: openai/x, url: 'https://0.0.0.0:1/v1', key: sk-hunter2"
    cli.write("headwater.yaml", template().replace("model: static", service))
    cli.write("docs/a.md", "the-text-of-a-document")
    for arguments in (["doctor"], ["doctor", "--json"]):
        done = cli(*arguments, code=1)
        assert "secret-in-file" in done.stdout
        assert "hunter2" not in done.stdout + done.stderr
        assert "the-text" not in done.stdout + done.stderr


def test_a_bundle_holds_what_a_bug_report_needs_and_no_more(cli: Cli, tmp_path: Path) -> None:
    service = "model: openai/x, url: 'https://0.0.0.0:1/v1', key: sk-hunter2"
    cli.write("headwater.yaml", template().replace("model: static", service))
    cli.write("docs/a.md", "the-text-of-a-document")
    cli("doctor", "--bundle", "report.zip", code=1)
    with ZipFile(tmp_path / "report.zip") as archive:
        held = {name: archive.read(name).decode() for name in archive.namelist()}
    assert set(held) == {"findings.json", "versions.json", "configuration.json"}
    assert "hunter2" not in str(held)
    assert "the-text" not in str(held)
    assert "secret-in-file" in held["findings.json"]
    assert json.loads(held["configuration.json"])["streams"]["articles"]["recipe"]["embed"]["model"] == "openai/x"
    assert json.loads(held["versions.json"])["sqlite"] == sqlite3.sqlite_version
    assert "exists already" in cli("doctor", "--bundle", "report.zip", code=1).stderr
    cli.write("headwater.yaml", "streams: [")
    cli("doctor", "--bundle", "broken.zip", code=3)
    with ZipFile(tmp_path / "broken.zip") as archive:
        assert set(archive.namelist()) == {"findings.json", "versions.json"}


def _bundled(cli: Cli) -> dict[str, str]:
    write_bundle(cli.folder / "report.zip", _examined(cli).findings, cli.folder / "headwater.yaml")
    with ZipFile(cli.folder / "report.zip") as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_a_bundle_holds_what_is_in_effect_and_not_what_variables_hold(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERE", "docs")
    cli.write("headwater.yaml", template().replace("./docs\n", "${env:HERE}\n"))
    shown = json.loads(_bundled(cli)["configuration.json"])
    assert shown["streams"]["articles"]["source"]["folder"] == "${env:HERE}"
    assert shown["streams"]["articles"]["partitions"] == 8


_BROKEN = """log: sqlite:///h.db
streams:
  a:
    source: {folder: ./docs, include: ['**/*.md'], watch: false}
    recipe: {embed: {model: openai/x, key: '${env:K}', timeout: 5s}, payload: {by: author}}
    freshnes: 5s
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("timeout: 5s", "url: 'https://x.invalid/openai?api-key=hunter2'"),
        ("timeout: 5s", "url: 'https://x.invalid/openai#hunter2'"),
        ("timeout: 5s", "url: 'https://me:hunter2@x.invalid'"),
        ("timeout: 5s", "url: '${env:K:-https://h/hunter2}'"),
        ("timeout: 5s", "account: {key: hunter2}"),
        ("model: openai/x", "model: {name: openai/x, key: hunter2}"),
        ("model: openai/x", "model: 'openai/x?key=hunter2'"),
        ("'${env:K}'", "[hunter2]"),
        ("sqlite:///h.db", "kafka://h:1?sasl.password=hunter2"),
        ("sqlite:///h.db", "'kafka://h:1;password=hunter2'"),
        ("sqlite:///h.db", "{url: 'kafka://h:1', security: hunter2}"),
        ("sqlite:///h.db", "{url: 'kafka://h:1', security: {mechanism: 'PLAIN username=u password=hunter2'}}"),
        ("freshnes: 5s", "index: 'postgresql://h/db?password=hunter2'"),
        ("freshnes: 5s", "index: 'host=h password=hunter2'"),
        ("freshnes: 5s", "hidden: hunter2"),
        ("streams:", "accounts: {work: hunter2}\nstreams:"),
        ("streams:", "accounts: [{work: hunter2}]\nstreams:"),
        ("{embed: {", "{embed: hunter2, embeds: {"),
        ("  a:\n", "  a: hunter2\n  b:\n"),
        (_BROKEN, "streams: [{name: a, key: hunter2}]\n"),
        (_BROKEN, "- password: hunter2\n"),
        (_BROKEN, "hunter2\n"),
    ],
)
def test_a_bundle_holds_no_secret_of_a_file_that_cannot_be_used(cli: Cli, old: str, new: str) -> None:
    assert old in _BROKEN
    cli.write("headwater.yaml", _BROKEN.replace(old, new))
    assert "hunter2" not in str(_bundled(cli))


def test_a_bundle_holds_what_is_valid_in_a_file_that_cannot_be_used(cli: Cli) -> None:
    cli.write("headwater.yaml", _BROKEN)
    held = _bundled(cli)
    assert json.loads(held["configuration.json"]) == {
        "log": "sqlite:///h.db",
        "streams": {
            "a": {
                "source": {"folder": "./docs", "include": ["**/*.md"], "watch": False},
                "recipe": {
                    "embed": {"model": "openai/x", "key": "(a secret: not shown)", "timeout": "5s"},
                    "payload": {"by": "author"},
                },
                "freshnes": "(an unknown key: not shown)",
            }
        },
    }
    assert "did you mean freshness" in held["findings.json"].lower()


def test_a_bundle_that_cannot_be_written_hides_nothing_that_was_found(cli: Cli) -> None:
    cli.write("report.zip", "mine")
    done = cli("doctor", "--json", "--bundle", "report.zip", code=1)
    assert json.loads(done.stdout)["findings"]
    assert "exists already" in done.stderr
    assert (cli.folder / "report.zip").read_text() == "mine"


def test_half_a_bundle_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "headwater.yaml").write_text(template())
    monkeypatch.setattr(ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space"):
        write_bundle(tmp_path / "report.zip", [], tmp_path / "headwater.yaml")
    assert not (tmp_path / "report.zip").exists()


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"odd\xff")
    folder.mkdir()
    with closing(Cli(folder)) as cli:
        cli.write("headwater.yaml", template().replace("exclude: []", "include: ['*.md']"))
        cli.write(os.fsdecode(b"docs/x.\xff\xfe"), "a text")
        assert "include-nothing" in cli("doctor", PYTHONIOENCODING="utf-8:strict").stdout
        found = json.loads(cli("doctor", "--json", "--bundle", "report.zip").stdout)["findings"]
        (finding,) = [it for it in found if it["check"] == "include-nothing"]
        assert finding["subject"].endswith("/odd\\udcff/docs")
        assert finding["next"].endswith(r"such as **/*.\udcff\udcfe")
        with ZipFile(folder / "report.zip") as archive:
            assert "include-nothing" in archive.read("findings.json").decode()


def _examined(cli: Cli) -> Examination:
    return asyncio.run(examine(cli.folder / "headwater.yaml", ways()))


@pytest.mark.parametrize(
    ("error", "severity"),
    [
        (Retry("x", "away"), Severity.ERROR),
        (Halt("torn", "bad"), Severity.ERROR),
        (ValueError("the-text-of-a-document"), Severity.WARNING),
    ],
    ids=["away", "halt", "defect"],
)
@pytest.mark.parametrize(
    "look", ["look_at_text", "look_at_folder", "look_at_file", "ask_model", "look_at_stream", "look_at_machine"]
)
def test_a_look_that_fails_ends_no_other(
    look: str, error: Exception, severity: Severity, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("run", "--once")
    whole = {it.check for it in _examined(cli).findings}

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(examination, look, fail)
    found = _examined(cli).findings
    (failed,) = [it for it in found if it.check == "look"]
    expected = Severity.WARNING if look == "look_at_stream" and isinstance(error, Retry) else severity
    assert failed.severity is expected
    assert failed.why
    assert failed.next
    assert "the-text" not in str(found)
    # A file that was not looked at is not asked, so its streams are not either.
    missing = whole - {it.check for it in found}
    assert len(missing) <= (2 if look == "look_at_file" else 1)


def test_a_look_that_hangs_is_left(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(examination, "ask_model", hang)
    monkeypatch.setattr(examination, "_LOOK_S", 0.2)
    (failed,) = [it for it in _examined(cli).findings if it.check == "look"]
    assert (failed.subject, failed.severity) == ("static", Severity.WARNING)


def test_a_look_that_blocks_is_not_waited_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    released, ended = threading.Event(), threading.Event()

    def block(*_: object) -> None:
        released.wait(60)
        ended.set()

    monkeypatch.setattr(examination, "look_at_folder", block)
    monkeypatch.setattr(examination, "_LOOK_S", 0.2)
    failed = [it.subject for it in _examined(cli).findings if it.check == "look"]
    assert not ended.is_set()
    assert str(cli.folder / "docs") in failed
    released.set()
    assert ended.wait(60)


def test_links_that_lead_in_a_circle(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "headwater.db").symlink_to("other.db")
    (tmp_path / "other.db").symlink_to("headwater.db")
    found = cli.json("doctor", "--json", code=1)["findings"]
    bad = [(it["check"], it["subject"]) for it in found if it["severity"] != "ok"]
    assert bad == [("file-kind", str(tmp_path / "headwater.db"))]


def _sound(cli: Cli) -> None:
    """Find that nothing is wrong."""
    assert [it for it in _examined(cli).findings if it.severity is not Severity.OK] == []


def test_streams_that_share_a_folder_and_no_file(cli: Cli) -> None:
    cli.write("docs/de/b.md", "b")
    cli.write("docs/en/c.md", "c")
    cli.write("docs/own/d.txt", "d")
    cli.write("e.txt", "e")
    cli.write("docs/own/.headwaterignore", "*.txt")
    streams = """
  de: {source: {folder: ./docs, include: ['de/**']}}
  en: {source: {folder: ./docs, include: ['en/**']}}
  outer: {source: {folder: ., include: ['**/*.txt']}}
  inner: {source: {folder: ./docs/own, ignore_files: []}}
"""
    cli.write("headwater.yaml", f"log: sqlite:///../data.db\nstreams:{streams}")
    _sound(cli)
    (cli.folder / "docs/own/.headwaterignore").unlink()
    (finding,) = [it for it in _examined(cli).findings if it.severity is not Severity.OK]
    assert (finding.check, finding.subject) == ("source-nested", "streams.inner.source.folder")
    assert finding.what == "outer takes files of it for documents too, such as d.txt"
    cli.write(
        "headwater.yaml", "log: sqlite:///../data.db\nstreams:" + streams.replace("txt']", "txt'], exclude: [/docs/]")
    )
    _sound(cli)


@pytest.mark.parametrize("left_out", ["exclude: [headwater.yaml]", "ignore_files: [.leave]"])
def test_a_configuration_that_is_left_out_is_no_document(cli: Cli, left_out: str) -> None:
    cli.write(".leave", "/*.yaml\n")
    source = f"{{folder: ., include: ['**/*.md', '**/*.yaml'], {left_out}}}"
    cli.write("headwater.yaml", f"log: sqlite:///../data.db\nstreams: {{a: {{source: {source}}}}}\n")
    _sound(cli)


def test_files_in_another_case_that_are_left_out(cli: Cli) -> None:
    cli.write("docs/OLD.MD", "old")
    cli.write("headwater.yaml", template().replace("exclude: []", "include: ['**/*.md']\n      exclude: [OLD.MD]"))
    _sound(cli)


def test_documents_that_the_filter_leaves_out_need_no_payload(cli: Cli) -> None:
    recipe = "{filter: 'has(body.y)', payload: {y: y}}"
    cli.write("headwater.yaml", f"log: sqlite:///h.db\nstreams: {{a: {{recipe: {recipe}}}}}\n")
    lines = ['{"id": "one", "text": "a", "y": "1"}', *(f'{{"id": "n{it}", "text": "a"}}' for it in range(60))]
    cli("publish", "a", stdin="\n".join(lines) + "\n")
    cli("run", "--once")
    _sound(cli)


def test_a_finding_stands_with_its_fault() -> None:
    made = Examination()
    made.note(Group.STREAMS, [in_order("lag", "s", "0 behind"), in_order("model", "m", "it answers")])
    assert list(made.groups) == [Group.STREAMS]
