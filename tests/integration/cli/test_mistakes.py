"""What a user gets wrong: one clear message and the right exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headwater.cli.reference import reference, verbs
from tests.integration.cli.process import CONFIG, Cli


def test_a_bad_configuration_names_every_error_with_its_place(cli: Cli) -> None:
    cli.write("headwater.yaml", "streams:\n  articles:\n    freshnes: 60s\n    replay: 5\n")
    failed = cli("lint", code=3)
    assert failed.stdout == ""
    lines = failed.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("headwater.yaml:3:5: ")
    assert "did you mean freshness?" in lines[0]
    assert lines[0].endswith(" [unknown-key]")
    assert lines[1].startswith("headwater.yaml:4:13: ")
    assert lines[1].endswith(" [wrong-value]")
    assert cli("run", "--once", code=3).stderr == failed.stderr
    shape = cli.json("lint", "--json", code=3)
    assert not shape["ok"]
    assert [(error["line"], error["column"]) for error in shape["errors"]] == [(3, 5), (4, 13)]
    assert [error["code"] for error in shape["errors"]] == ["unknown-key", "wrong-value"]
    missing = (
        "nowhere.yaml: there is no such file. `headwater init` writes one, --config names another [no-configuration]\n"
    )
    assert cli("-c", "nowhere.yaml", "status", code=3).stderr == missing
    assert cli("-c", "nowhere.yaml", "lint", code=3).stderr == missing
    assert cli.json("-c", "nowhere.yaml", "lint", "--json", code=3)["errors"][0]["got"] == "no such file"


def test_reading_before_the_first_run_makes_no_file(articles: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    fresh = Cli(folder)
    fresh.write("headwater.yaml", CONFIG)
    for verb in (
        ["search", "articles", "x"],
        ["status"],
        ["export", "articles"],
        ["trace", "articles", "x"],
        ["verify", "articles"],
        ["verify", "articles", "--repair"],
        ["dead", "list", "articles"],
        ["pause", "articles"],
    ):
        assert "headwater run" in fresh(*verb, code=4).stderr
    assert [path.name for path in folder.iterdir()] == ["headwater.yaml"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "artciles", "x"], "did you mean articles?"),
        (["status", "artciles"], "did you mean articles?"),
        (["search", "articles", "x", "--as", "staff"], "declares no access"),
        (["search", "articles", "x", "--where", "title"], "KEY=VALUE"),
        (["search", "articles", "x", "-k", "0"], "-k"),
        (["search", "articles", " "], "the query is empty"),
        (["search", "articles", "x", "--where", "nope=1"], "no field 'nope'; its fields are title"),
        (["search", "articles"], "QUERY"),
        (["run", "--timeout", "10m"], "--once"),
        (["run", "--once", "--timeout", "10"], "unit"),
        (["search", "articles", "x", "--where", 'k="\\ud800"'], "surrogate"),
        (["trace", "articles", "\udcff"], "UTF-8"),
        (["swim"], "swim"),
    ],
)
def test_usage(cli: Cli, arguments: list[str], said: str) -> None:
    cli.write("headwater.yaml", CONFIG)
    failed = cli(*arguments, code=2)
    assert said in failed.stderr
    assert failed.stdout == ""


def test_a_log_that_cannot_be_made(cli: Cli) -> None:
    cli.write("headwater.yaml", CONFIG.replace("headwater.db", "gone/headwater.db"))
    assert "gone" in cli("run", "--once", code=4).stderr
    cli.write("headwater.yaml", CONFIG.replace("headwater.db", "broken.db"))
    cli.write("broken.db", "this is no database, whatever it says, and it is long enough to be read as one" * 20)
    assert "broken.db" in cli("status", code=4).stderr
    assert "broken.db" in cli("run", "--once", "--timeout", "1s", code=4).stderr


def test_another_model_is_refused(articles: Cli) -> None:
    articles.write("headwater.yaml", CONFIG.replace("model: hash", "model: static"))
    assert "cannot go on  headwater.yaml:5:5: streams.articles.recipe: " in articles("status").stdout
    halted = articles("run", "--once", code=3).stderr
    assert "\nheadwater.yaml:5:5: streams.articles.recipe: " in halted
    assert halted.count("streams.articles.recipe") == 1
    assert "set `index: sqlite:///another.db`" in halted
    assert "model-drift" in articles("search", "articles", "x", code=5).stderr
    articles.write("headwater.yaml", CONFIG.replace("    recipe:", "    partitions: 4\n    recipe:"))
    assert articles("status", code=3).stderr.startswith("headwater.yaml:5:5: streams.articles.partitions: ")


def test_a_full_disk_behind_stdout(articles: Cli) -> None:
    with Path("/dev/full").open("w") as full:
        export = subprocess.run(
            [sys.executable, "-m", "headwater", "export", "articles"],
            cwd=articles.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert export.returncode == 1
    assert "No space left" in export.stderr
    assert "Traceback" not in export.stderr


def test_help_and_version(cli: Cli) -> None:
    assert "headwater init" in cli("--help").stdout
    assert cli("--version").stdout.startswith("headwater ")


def test_the_reference_is_current() -> None:
    written = (Path(__file__).parents[3] / "docs/reference/cli.md").read_text()
    for verb in verbs():
        assert f"## headwater {verb}\n" in written, "run `make reference`"
    assert written == reference(), "run `make reference`"
