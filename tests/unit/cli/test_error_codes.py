"""Every error has a code, and every code a page: what is raised without one fails here."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import headwater.cli
from headwater.cli.error_pages import lines, pages, reference
from headwater.cli.failures import Exit, exit_code, explain
from headwater.errors import Halt, HeadwaterError, Misconfigured, Retry, TooLong, Unreachable
from headwater.settings.failures import ConfigurationErrors

PAGES = pages()
SOURCE = Path(headwater.cli.__file__).parents[1]
#: Calls that make an error whose kind alone does not say what to do: each names its code.
NAMED = {"Unreachable"}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.relative_to(SOURCE).as_posix(), getattr(node.func, "id", ""), node


def kinds(root: type[HeadwaterError] = HeadwaterError) -> Iterator[type[HeadwaterError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


def codes_in_source() -> dict[str, list[str]]:
    """Return every code that the source writes down, with the places."""
    found: dict[str, list[str]] = {}
    for path, name, call in calls():
        literals = [it.value for it in call.keywords if it.arg == "code"]
        literals += call.args[:1] if name == "Halt" else []
        for literal in literals:
            if isinstance(literal, ast.Constant):
                found.setdefault(str(literal.value), []).append(f"{path}:{call.lineno}")
    return found


def test_every_code_in_the_source_has_a_page() -> None:
    missing = {code: places for code, places in codes_in_source().items() if code not in PAGES}
    assert not missing, "write its page in cli/error_pages.toml"


def test_every_page_is_of_a_code_that_can_come() -> None:
    of_kinds = {code for kind in kinds() if isinstance(code := getattr(kind, "code", None), str)}
    assert set(PAGES) - set(codes_in_source()) - of_kinds == set()


def test_every_kind_of_error_has_a_code_with_a_page() -> None:
    for module in pkgutil.walk_packages([str(SOURCE)], "headwater."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for kind in kinds():
        # A halt's code is the name of the anomaly that it is given.
        if not issubclass(kind, Halt) and kind.__module__.startswith("headwater."):
            assert getattr(kind, "code", None) in PAGES, f"{kind.__qualname__} has no code, or its code no page"


def test_what_is_named_by_its_place_alone_says_its_code() -> None:
    for path, name, call in calls():
        if name in NAMED:
            assert any(it.arg == "code" for it in call.keywords), f"{path}:{call.lineno}: give it `code=`"
        if name == "Halt":
            assert isinstance(call.args[0], ast.Constant), f"{path}:{call.lineno}: name the anomaly where it is raised"


def test_a_code_is_a_short_name() -> None:
    for code, page in PAGES.items():
        assert code == code.lower().replace("_", "-").strip("-")
        assert page.means.endswith((".", "?"))
        assert page.steps
        assert all(step.endswith((".", "?")) for step in page.steps)


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (
            Unreachable("kafka", "no rights on topic x", code="no-rights"),
            "headwater: kafka: no rights on topic x [no-rights]",
        ),
        (
            Halt("log-rewind", "offset 3 holds another change"),
            "headwater: log-rewind: offset 3 holds another change",
        ),
        (Retry("the index", "it is busy"), "headwater: the index: it is busy. Nothing was lost: try again [away]"),
        (TooLong("too long", 3), "headwater: too long [text-too-long]"),
        (Misconfigured("a.b", "x", "y", "f.yaml", 1, 2), "f.yaml:1:2: a.b: expected x, got y [wrong-value]"),
        (ConfigurationErrors([Misconfigured("a", "x", "y", code="unknown-key")]), "a: expected x, got y [unknown-key]"),
    ],
)
def test_a_message_ends_with_its_code(error: HeadwaterError, last: str) -> None:
    assert explain(error)[-1] == last


def test_the_page_says_the_exit_code_that_comes() -> None:
    for kind, code in (
        (Halt("model-drift", ""), "model-drift"),
        (Retry("x", ""), "away"),
        (Unreachable("x", ""), "unusable"),
    ):
        assert PAGES[code].exit == exit_code(kind)
    assert PAGES["unset-variable"].exit == Exit.CONFIGURATION


def test_a_page_says_what_to_do() -> None:
    page = list(lines("log-rewind"))
    assert page[:2] == ["log-rewind: The log is not the one that the index was built from", "exit code 5"]
    assert any("--accept-log-epoch" in line for line in page)
    assert "### log-rewind\n" in reference()
