"""The docs are true: their commands run and print what they show, their links lead somewhere, every verb is in them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.cli.error_pages import pages as error_pages
from tests.kafka.broker import Broker
from tests.simulation.safeguards import SAFEGUARDS
from tests.simulation_courier.safeguards import SAFEGUARDS as COURIER_SAFEGUARDS
from tools import record_tutorial
from tools.pages import agrees, masked, play, steps, with_headwater
from tools.reference import PAGES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES_OF_DOCS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?[^)]*\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
TEST = re.compile(r"`((?:tests|src)/[\w/]+\.py)::(\w+)`")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


FOLLOWED = sorted([*(DOCS / "how-to").glob("*.md"), *(DOCS / "tutorial").glob("*.md")])
ON_KAFKA = [page for page in FOLLOWED if "$KAFKA" in page.read_text()]


@pytest.mark.parametrize("page", [page for page in FOLLOWED if page not in ON_KAFKA], ids=name)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    follow(page, tmp_path)


@pytest.mark.parametrize("page", ON_KAFKA, ids=name)
def test_the_commands_of_a_page_that_needs_a_broker_run(
    page: Path, tmp_path: Path, start_broker: Callable[..., Broker]
) -> None:
    # One of its own: what the page makes has the names that a newcomer's would have.
    follow(page, tmp_path, KAFKA=start_broker().bootstrap)


def follow(page: Path, tmp_path: Path, **more: str) -> None:
    todo = steps(page.read_text())
    assert todo, "it has no commands"
    played = play([step.script for step in todo], tmp_path, with_headwater({**os.environ, **more}))
    assert played.code == 0, f"{todo[len(played.outputs) - 1].script}\n{played.outputs[-1]}"
    for step, printed in zip(todo, played.outputs, strict=True):
        if step.shown is not None and not agrees(step.shown, printed):
            pytest.fail(f"{step.script}\nshown:\n{masked(step.shown)}\nprinted:\n{masked(printed)}")


def test_what_is_shown_is_compared_but_for_what_differs_each_time() -> None:
    shown = "2026-11-26T21:54:20.333Z info stopped\n1.0.3.0  indexed\n…\n1. 0.38  welcome.md\n"
    printed = "2027-01-02T00:00:00Z   info  stopped\n1.0.3.0  indexed\nmore\nand more\n1. 0.7  welcome.md\n"
    assert agrees(shown, printed)
    for changed in (
        printed.replace("welcome", "other"),
        printed.replace("1.0.3.0", "1.0.4.0"),
        printed + "and then\n",
        printed.replace("stopped", "started"),
    ):
        assert not agrees(shown, changed)
    assert agrees("in use by process … here\n", "in use by process 4 or so here\n")
    assert not agrees("a … b\n", "a\nb\n")


def test_the_map_of_the_engine_names_every_file_and_no_other() -> None:
    _, _, engine = (ROOT / "ARCHITECTURE.md").read_text().partition("## The engine")
    named = set(re.findall(r"`(\w+\.py)`", engine.partition("\n## ")[0]))
    there = {path.name for path in (ROOT / "src/headwater/engine").glob("*.py")} - {"__init__.py"}
    assert named == there


@pytest.mark.parametrize("page", PAGES_OF_DOCS, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{target} does not exist"
            if anchor:
                assert anchor in anchors(page.parent / target if target else page), f"{target} has no {anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made where Markdown is shown."""
    headings = HEADING.findall(re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_steps_of_an_error_lead_somewhere() -> None:
    for code, page in error_pages().items():
        for target, _, anchor in re.findall(r"(docs/[\w/-]+\.md)(#([\w-]+))?", "\n".join(page.steps)):
            assert (ROOT / target).exists(), f"{code}: {target} does not exist"
            assert not anchor or anchor in anchors(ROOT / target), f"{code}: {target} has no {anchor}"


def test_every_page_is_in_the_index() -> None:
    listed = {target for target, _ in LINK.findall((DOCS / "README.md").read_text())}
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    assert listed == there


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_reference_is_what_the_code_says(page: str) -> None:
    assert (ROOT / page).read_text() == PAGES[page](), "run `make reference`"


def test_the_session_is_a_recording_of_the_tutorial() -> None:
    left = record_tutorial.SESSION.read_text()
    for step in reversed(steps(record_tutorial.TUTORIAL.read_text())):
        left, typed, printed = left.rpartition(record_tutorial.typed(step.script) + "\n")
        assert typed, "run `python -m tools.record_tutorial`"
        assert step.shown is None or agrees(step.shown, printed), "run `python -m tools.record_tutorial`"
    assert not left
    assert record_tutorial.DRAWING.read_text() == record_tutorial.draw(record_tutorial.SESSION.read_text())


def test_every_safeguarded_guarantee_is_in_the_contract_with_its_safeguards() -> None:
    rows = {line.split(" | ")[0]: line for line in (DOCS / "explanation/contract.md").read_text().splitlines()}
    # Of the courier's rules these two guarantees are made.
    of_rule = {"vectors": "G6", "blame": "G7", "errors": "G7"}
    named = [(it.broken, it.name) for it in SAFEGUARDS]
    named += [(of_rule[it.broken], it.name) for it in COURIER_SAFEGUARDS if it.broken in of_rule]
    for guarantee, name in named:
        assert name in rows[f"| {guarantee}"], f"{guarantee}: {name}"


@pytest.mark.parametrize("page", [page for page in PAGES_OF_DOCS if TEST.search(page.read_text())], ids=name)
def test_the_tests_that_a_page_names_exist(page: Path) -> None:
    for file, test in TEST.findall(page.read_text()):
        assert f"def {test}(" in (ROOT / file).read_text(), f"{file} has no {test}"


def test_pages_that_name_tests_are_found() -> None:
    assert {"contract.md", "anomalies.md"} <= {page.name for page in PAGES_OF_DOCS if TEST.search(page.read_text())}
