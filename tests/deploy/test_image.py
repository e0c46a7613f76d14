"""The Containerfile: what it installs is locked and current, it needs no root, and what it starts is what there is."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from headwater import __version__
from headwater.cli.probes import loopback
from headwater.cli.reference import verbs
from tests.deploy.files import ROOT, arguments, command, environment, instructions, pins

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    "image.lock": [
        *PROJECT["project"]["dependencies"],
        *(
            requirement
            for extra in ("documents", "kafka", "schemas", "services", "telemetry")
            for requirement in PROJECT["project"]["optional-dependencies"][extra]
        ),
    ],
    "build.lock": PROJECT["build-system"]["requires"],
}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_image_has_what_is_tested(lock: str) -> None:
    found = pins(ROOT / "deploy" / lock)
    assert found
    assert found <= pins(ROOT / "requirements.lock"), "run `make lock`"
    named = {re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace(".", "-") for requirement in LOCKS[lock]}
    assert named <= {pin.partition("==")[0] for pin in found}, "run `make lock`"


def test_everything_that_is_installed_is_locked() -> None:
    installs = re.findall(r"pip install ([^&]*)", " ".join(arguments("RUN")))
    assert len(installs) == 3
    for options in installs:
        assert "--require-hashes" in options or "--no-index" in options, options


def test_what_is_copied_is_there_and_let_through() -> None:
    let_through = (ROOT / ".dockerignore").read_text()
    for copied in arguments("COPY"):
        words = [word for word in copied.split() if not word.startswith("--")]
        if "--from=" not in copied:
            for source in words[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}\n" in let_through, source


def test_it_runs_without_root_and_without_a_shell() -> None:
    assert arguments("USER") == ["10001:10001"]
    assert arguments("STOPSIGNAL") == ["SIGTERM"]
    assert command("ENTRYPOINT") == ["headwater"]
    assert command("CMD")[0] in verbs()
    assert arguments("HEALTHCHECK")[0].endswith('CMD ["probe", "livez"]')
    assert instructions()[-1][0] == "CMD"


def test_its_probes_are_where_the_worker_can_listen() -> None:
    assert loopback(environment()["HEADWATER_PROBES"])[1] > 1024


def test_it_is_labelled_with_this_version() -> None:
    assert f'image.version="{__version__}"' in arguments("LABEL")[0]
    bases = arguments("FROM")
    assert all(re.search(r":\d+\.\d+-", base) for base in bases), "a base has a version"
    assert {base.split()[0] for base in bases} == {bases[0].split()[0]}, "wheels are chosen for the base that runs them"
