"""What a shell is told to complete, asked as bash, zsh and fish ask. Nothing heavy is imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.integration.cli.process import Cli

CONFIG = "streams:\n  articles: {}\n  notes: {}\n"
#: typer itself imports pydantic, for each call of a verb.
HEAVY = ("headwater.settings.schema", "numpy", "rich", "sqlite3", "structlog", "tokenizers")


def asked(shell: str, words: str) -> dict[str, str]:
    """Return the environment in which a shell asks what may stand at the end of these words."""
    shared = {"_HEADWATER_COMPLETE": f"complete_{shell}"}
    if shell == "bash":
        return shared | {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    return shared | {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}


def tab(cli: Cli, shell: str, words: str, **more: str) -> CompletedProcess[str]:
    """Press Tab there."""
    asking = Cli(cli.folder)
    asking.environment |= asked(shell, words) | more
    return asking()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_streams_are_completed_from_the_configuration(cli: Cli, shell: str) -> None:
    cli.write("headwater.yaml", CONFIG)
    told = tab(cli, shell, "headwater search ").stdout
    assert "articles" in told
    assert "notes" in told
    told = tab(cli, shell, "headwater dead retry no").stdout
    assert "notes" in told
    assert "articles" not in told


def test_the_configuration_that_is_named_counts(cli: Cli) -> None:
    cli.write("headwater.yaml", CONFIG)
    cli.write("other.yaml", "streams: {orders: {}}")
    for words, more in (
        ("headwater -c other.yaml status ", {}),
        ("headwater status -c other.yaml ", {}),
        ("headwater status ", {"HEADWATER_CONFIG": "other.yaml"}),
    ):
        assert tab(cli, "bash", words, **more).stdout.split() == ["orders"]


def test_documents_are_never_completed(articles: Cli) -> None:
    assert tab(articles, "bash", "headwater trace articles ").stdout.strip() == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_only_what_can_be_a_name_is_completed(cli: Cli, shell: str) -> None:
    hostile = """"x$(touch PWNED)": {}, "x`id`": {}, "x\\e[31m": {}, "x\\ny": {}, X: {}, "": {}"""
    cli.write("headwater.yaml", f"streams: {{x-1: {{}}, {hostile}}}\n")
    told = tab(cli, shell, "headwater status x").stdout
    assert "x-1" in told
    assert not {*"`\x1b"} & {*told}
    assert "touch" not in told


@pytest.mark.parametrize("text", [None, "streams: [", "streams: 3", "\0", "log: x", "a" * (1 << 21)])
def test_what_is_wrong_with_the_file_is_no_matter_here(cli: Cli, text: str | None) -> None:
    if text is not None:
        cli.write("headwater.yaml", text)
    done = tab(cli, "bash", "headwater search ")
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_names_that_do_not_change_are_completed_too(cli: Cli) -> None:
    assert tab(cli, "bash", "headwater expl").stdout.split() == ["explain"]
    assert tab(cli, "bash", "headwater explain model-").stdout.split() == ["model-drift"]
    assert "debezium" in tab(cli, "bash", "headwater init --template ").stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_be_told_how_to_ask(cli: Cli, shell: str) -> None:
    assert f"complete_{shell}" in cli(_HEADWATER_COMPLETE=f"source_{shell}").stdout


def test_bash_itself_completes_after_that(cli: Cli) -> None:
    cli.write("headwater.yaml", CONFIG)
    script = """
        eval "$(headwater --show-completion)"
        COMP_WORDS=(headwater search ar); COMP_CWORD=2
        "$(complete -p headwater | sed 's/.*-F \\([^ ]*\\).*/\\1/')" headwater ar search
        echo "${COMPREPLY[@]}"
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", script], cwd=cli.folder, env={**cli.environment, "PATH": path}, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("articles", "")


def test_completing_imports_nothing_heavy(cli: Cli) -> None:
    cli.write("headwater.yaml", CONFIG)
    script = (
        "import sys\nfrom headwater.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(*[it for it in {HEAVY!r} if it in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=cli.folder, capture_output=True, text=True, check=True,
        env={**cli.environment, **asked("bash", "headwater search ")},
    )  # fmt: skip
    assert done.stdout.split() == ["articles", "notes"]
    assert done.stderr.strip() == ""
