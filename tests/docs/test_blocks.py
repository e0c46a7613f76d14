"""Every code block of the docs is run, or held to what it is about. What can be neither is listed, with its reason."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from headwater.cli.reference import verbs
from headwater.settings.outline import keys
from headwater.settings.schema import RecipeSettings, Settings, StreamSettings
from tests.deploy.files import compose
from tests.docs.test_docs import FOLLOWED, PAGES_OF_DOCS, ROOT, name
from tests.unit.settings.reading import SCHEMA
from tools.newcomer import quickstart
from tools.reference import PAGES as GENERATED

BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
EXTRAS = re.compile(r"pip\s+install '(?:\.|headwater)\[([\w,]+)\]'")

#: Lines and keys that nothing here can run or check, and why.
UNCHECKED = {
    "$ psql": "it changes a server's settings; tests/cdc sets its own database up in the same way",
    "$ pip install": "it needs a package index; which extras there are is checked on every page",
    "$ export OTEL_EXPORTER_OTLP_ENDPOINT": "there is no collector; tests/integration has one of its own",
    "spec": "Kubernetes' own schema, which is not here",
    "scrape_configs": "Prometheus' own schema, which is not here",
    "groups": "Prometheus' own; tests/unit/observability looks at the metrics that its rules name",
}


class Unchecked(Exception):
    """This is nothing that can be checked."""


def _output(page: Path, block: str) -> None:
    assert page in FOLLOWED, "the output of nothing that is played"


def _sh(page: Path, block: str) -> None:
    if page in FOLLOWED or block in quickstart((ROOT / "README.md").read_text()):
        return  # played by test_docs.py and tests/acceptance/test_newcomer.py
    makefile = (ROOT / "Makefile").read_text()
    for line in block.splitlines():
        command, *words = shlex.split(line, comments=True)
        assert command == "make", f"{line}: nothing plays it"
        for word in words:
            variable, given, _ = word.partition("=")
            there = rf"^{variable}\s*\?=" if given else rf"^{word}:.*##"
            assert re.search(there, makefile, re.MULTILINE), f"{line}: there is no {word}"


def _console(page: Path, block: str) -> None:
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "$", line
        match words[1:]:
            case ["headwater", *rest]:
                assert any(" ".join(rest).startswith(verb) for verb in verbs()), line
            case ["docker", "compose", *rest]:
                services = [rest[place + 1] for place, word in enumerate(rest) if word in {"exec", "stop"}]
                assert set(services) <= set(compose()["services"]), line
                assert (ROOT / rest[rest.index("-f") + 1]).exists(), line
            case ["docker", "build", "-f", file, *_]:
                assert (ROOT / file).exists(), line
            case _:
                _listed(line)


def _yaml(page: Path, block: str) -> None:
    data: dict[str, Any] = YAML(typ="safe").load(block)
    if data.keys() <= keys(Settings).keys():
        return  # tests/unit/settings/test_json_schema.py
    if data.keys() <= keys(RecipeSettings).keys():
        data = {"recipe": {"embed": {"model": "static"}, **data}}
    if not data.keys() <= keys(StreamSettings).keys():
        _listed(next(iter(data)))
        return
    if "recipe" in data:
        data["recipe"].setdefault("embed", {"model": "static"})
    error = next(SCHEMA.iter_errors({"streams": {"any": data}}), None)
    assert error is None, f"{error.json_path}: {error.message}"


def _ini(page: Path, block: str) -> None:
    parser = configparser.ConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as its docs say
    parser.read_string(block)
    started = shlex.split(parser["Service"]["ExecStart"])
    assert Path(started[0]).name == "headwater"
    assert started[1] in verbs()


def _text(page: Path, block: str) -> None:
    """Nothing: pictures, and commands of other programs. `EXTRAS` are looked at on the whole page."""


CHECKS: Mapping[str, Callable[[Path, str], object]] = {
    "console": _console,
    "ini": _ini,
    "json": lambda page, block: json.loads(block),
    "output": _output,
    "sh": _sh,
    "text": _text,
    "toml": lambda page, block: tomllib.loads(block),
    "yaml": _yaml,
}


def _listed(what: str) -> None:
    if not any(what.startswith(known) for known in UNCHECKED):
        raise Unchecked(f"{what}: nothing checks it")


WRITTEN = [page for page in PAGES_OF_DOCS if str(page.relative_to(ROOT)) not in GENERATED]


@pytest.mark.parametrize("page", [page for page in WRITTEN if BLOCK.search(page.read_text())], ids=name)
def test_every_block_is_run_or_checked(page: Path) -> None:
    for language, block in BLOCK.findall(page.read_text()):
        CHECKS[language](page, block)


def test_what_is_listed_as_unchecked_is_there() -> None:
    text = "\n".join(page.read_text() for page in WRITTEN)
    gone = [it for it in UNCHECKED if not re.search(rf"^{re.escape(it)}", text, re.MULTILINE)]
    assert not gone


@pytest.mark.parametrize("page", [page for page in WRITTEN if EXTRAS.search(page.read_text())], ids=name)
def test_the_extras_that_a_page_installs_exist(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in EXTRAS.findall(page.read_text()):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize(
    ("language", "block"),
    [
        ("console", "$ curl example.org\n"),
        ("console", "$ headwater indx\n"),
        ("console", "$ docker compose -f deploy/compose/compose.yaml stop nobody\n"),
        ("json", "{,}\n"),
        ("sh", "make everything\n"),
        ("sh", "ls\n"),
        ("yaml", "apiVersion: 1\n"),
        ("yaml", "payload: {title: [1]}\n"),
    ],
)
def test_a_block_that_is_wrong_or_new_is_found(language: str, block: str) -> None:
    with pytest.raises((AssertionError, ValueError, Unchecked)):
        CHECKS[language](ROOT / "README.md", block)
