"""The examination as a whole: what it prints, how it ends, and that one look that fails does not end the others."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from zipfile import ZipFile

import pytest

from headwater.cli.doctor import ways
from headwater.doctor import examination
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
    cli.write("headwater.yaml", template().replace("rescan: 10s", "rescan: 5m").replace("model: static", "model: hash"))
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
    service = "model: openai/x, url: 'http://127.0.0.1:1/v1', key: sk-hunter2"
    cli.write("headwater.yaml", template().replace("model: static", service))
    cli.write("docs/a.md", "the-text-of-a-document")
    for arguments in (["doctor"], ["doctor", "--json"]):
        done = cli(*arguments, code=1)
        assert "secret-in-file" in done.stdout
        assert "hunter2" not in done.stdout + done.stderr
        assert "the-text" not in done.stdout + done.stderr


def test_a_bundle_holds_what_a_bug_report_needs_and_no_more(cli: Cli, tmp_path: Path) -> None:
    service = "model: openai/x, url: 'http://127.0.0.1:1/v1', key: sk-hunter2"
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


def test_a_finding_stands_with_its_fault() -> None:
    made = Examination()
    made.note(Group.STREAMS, [in_order("lag", "s", "0 behind"), in_order("model", "m", "it answers")])
    assert list(made.groups) == [Group.STREAMS]
