"""`config show`, `schema`, `explain` and the templates of `init`, as they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from headwater.settings.templates import Template
from tests.integration.cli.process import Cli

SECRETS = """\
log:
  url: kafka://127.0.0.1:1
  security: {protocol: sasl_ssl, mechanism: PLAIN, username: me, password: "hunter2-in-the-file"}
streams:
  notes:
    recipe:
      embed: {model: openai/x, key: "${env:KEY}"}
"""


def test_secrets_are_in_no_form_of_it(cli: Cli) -> None:
    cli.write("headwater.yaml", SECRETS)
    for options in ([], ["--origin"], ["--json"], ["--origin", "--json"]):
        told = cli("config", "show", *options, KEY="hunter2-in-the-environment")
        assert "hunter2" not in told.stdout + told.stderr
    lines = cli("config", "show", "--origin", KEY="x").stdout.splitlines()
    key = next(line for line in lines if line.lstrip().startswith("key:"))
    assert key.split("#")[1].strip() == "${env:KEY}, headwater.yaml:7"
    shape = json.loads(cli("config", "show", "--origin", "--json", KEY="x").stdout)
    assert shape["config"]["streams"]["notes"]["recipe"]["embed"]["key"] == "********"
    assert shape["origins"]["streams.notes.recipe.embed.key"] == {
        "from": "environment", "file": "headwater.yaml", "line": 7, "column": 37, "variables": ["${env:KEY}"],
    }  # fmt: skip
    assert shape["origins"]["log.prefix"] == {"from": "default"}


def test_what_it_prints_is_a_configuration(cli: Cli) -> None:
    cli.write("headwater.yaml", "streams:\n  notes:\n    freshness: 5m\n")
    shown = cli("config", "show").stdout
    assert "freshness: 5m\n" in shown
    cli.write("again.yaml", shown)
    cli("lint", "-c", "again.yaml")
    assert cli("config", "show", "-c", "again.yaml").stdout == shown


def test_a_configuration_with_errors_is_not_shown(cli: Cli) -> None:
    cli.write("headwater.yaml", "streams: {notes: {freshness: 5}}")
    failed = cli("config", "show", code=3)
    assert failed.stdout == ""
    assert "[wrong-value]" in failed.stderr
    assert "[no-configuration]" in cli("config", "show", "-c", "none.yaml", code=3).stderr


def test_the_schema_is_printed_whole(cli: Cli) -> None:
    schema = json.loads(cli("schema").stdout)
    Draft202012Validator.check_schema(schema)
    cli("init", "site")
    assert json.loads((cli.folder / "site" / "headwater.schema.json").read_text()) == schema


@pytest.mark.parametrize("which", [it.value for it in Template])
def test_each_template_lints_clean_and_fits_the_schema_beside_it(cli: Cli, which: str) -> None:
    made = cli("init", "site", "--template", which)
    site = cli.folder / "site"
    assert made.stdout.startswith("cd site\n")
    assert "headwater" in made.stdout
    linted = cli("lint", "-c", "site/headwater.yaml", OPENAI_API_KEY="sk-1", KAFKA_PASSWORD="x")
    assert "warning" not in linted.stderr
    written = (site / "headwater.yaml").read_text()
    assert written.startswith("# yaml-language-server: $schema=./headwater.schema.json\n")
    named = written.splitlines()[0].partition("$schema=")[2]
    Draft202012Validator(json.loads((site / named).read_text())).validate(YAML(typ="safe").load(written))


def test_the_templates_are_listed_and_nothing_else_is_written(cli: Cli) -> None:
    listed = cli("init", "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == [it.value for it in Template]
    assert list(cli.folder.iterdir()) == []
    assert "folder" in cli("init", "--template", "nope", code=2).stderr


def test_the_folder_template_leads_to_a_hit(cli: Cli) -> None:
    steps = cli("init", "site").stdout.splitlines()
    assert steps[0] == "cd site"
    site = Cli(cli.folder / "site")
    assert steps[1] == "headwater run --once"
    site("run", "--once")
    assert steps[2] == 'headwater search articles "what happens to a delete"'
    assert "welcome.md" in site("search", "articles", "what happens to a delete").stdout


def test_a_folder_that_is_there_already_is_kept(cli: Cli) -> None:
    cli.write("docs/mine.md", "# Mine\n")
    cli("init")
    assert [path.name for path in (cli.folder / "docs").iterdir()] == ["mine.md"]


def test_what_is_there_already_is_not_written_over(cli: Cli) -> None:
    mine = cli.write("elsewhere.json", "mine")
    (cli.folder / "headwater.schema.json").symlink_to(mine)
    assert "headwater.schema.json: already there" in cli("init", code=1).stderr
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in cli.folder.iterdir()) == ["elsewhere.json", "headwater.schema.json"]


@pytest.mark.parametrize("folder", [".", "new/site"])
def test_what_fails_half_way_leaves_nothing_behind(cli: Cli, folder: str) -> None:
    cli.write("docs", "a file") if folder == "." else (cli.folder / "new").symlink_to("nowhere")
    before = sorted(cli.folder.rglob("*"))
    assert "Nothing was changed" in cli("init", folder, code=1).stderr
    assert sorted(cli.folder.rglob("*")) == before


def test_a_folder_that_looks_like_an_option_can_be_gone_into(cli: Cli) -> None:
    assert cli("init", "--", "-dash").stdout.startswith("cd -- -dash\n")


def test_explain(cli: Cli) -> None:
    page = cli("explain", "log-rewind").stdout
    assert page.startswith("log-rewind: ")
    assert "--accept-log-epoch" in page
    assert cli("explain", "[log-rewind]").stdout == page
    assert "in-use " in cli("explain").stdout
    assert "did you mean log-rewind?" in cli("explain", "log-rewnd", code=2).stderr


def test_wrong_usage_names_its_page(cli: Cli) -> None:
    assert cli("search", "--nope", code=2).stderr.endswith("see: `headwater explain usage`\n")
    assert "explain" not in cli("--version").stderr


def test_a_halt_has_its_code_in_json_log_lines(cli: Cli, tmp_path: Path) -> None:
    cli.write(
        "headwater.yaml", "streams:\n  notes:\n    source: {folder: ./docs}\n    recipe: {embed: {model: hash}}\n"
    )
    cli.write("docs/a.md", "# A\n")
    cli("run", "--once")
    cli.write("headwater.yaml", (tmp_path / "headwater.yaml").read_text().replace("model: hash", "model: static"))
    events = [
        json.loads(line)
        for line in cli("run", "--once", "--log-format", "json", code=3).stderr.splitlines()
        if line.startswith("{")
    ]
    (halted,) = [event for event in events if event["event"] == "stream.halted"]
    assert halted["code"] == "made-otherwise"
