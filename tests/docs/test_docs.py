"""The docs are true: their commands run, their links lead somewhere, and every verb and guarantee is in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.broker import Broker
from tests.simulation.safeguards import SAFEGUARDS
from tools.reference import PAGES

ROOT = Path(__file__).resolve().parents[2]
PAGES_OF_DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
ON_KAFKA = [page for page in HOW_TO if "$KAFKA" in page.read_text()]


@pytest.mark.parametrize("page", [page for page in HOW_TO if page not in ON_KAFKA], ids=name)
def test_the_commands_of_a_how_to_page_run(page: Path, tmp_path: Path) -> None:
    follow(page, tmp_path)


@pytest.mark.parametrize("page", ON_KAFKA, ids=name)
def test_the_commands_of_a_page_that_needs_a_broker_run(
    page: Path, tmp_path: Path, start_broker: Callable[..., Broker]
) -> None:
    # One of its own: what the page makes has the names that a newcomer's would have.
    follow(page, tmp_path, KAFKA=start_broker().bootstrap)


def follow(page: Path, tmp_path: Path, **more: str) -> None:
    script = "\n".join(BLOCK.findall(page.read_text()))
    assert script, "it has no commands"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **more}
    done = subprocess.run(["bash", "-euxc", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_map_of_the_engine_names_every_file_and_no_other() -> None:
    _, _, engine = (ROOT / "ARCHITECTURE.md").read_text().partition("## The engine")
    named = set(re.findall(r"`(\w+\.py)`", engine.partition("\n## ")[0]))
    there = {path.name for path in (ROOT / "src/headwater/engine").glob("*.py")} - {"__init__.py"}
    assert named == there


@pytest.mark.parametrize("page", PAGES_OF_DOCS, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{target} does not exist"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_reference_is_what_the_code_says(page: str) -> None:
    assert (ROOT / page).read_text() == PAGES[page](), "run `make reference`"


def test_every_safeguarded_guarantee_is_in_the_contract() -> None:
    contract = (ROOT / "docs/explanation/contract.md").read_text()
    for guarantee in {safeguard.broken for safeguard in SAFEGUARDS}:
        assert f"| {guarantee} |" in contract
