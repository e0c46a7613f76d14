"""Brokers that are away, and brokers that are too old: every verb ends soon, with one sentence that helps."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bad_input.fake_broker import old_broker
from tests.integration.cli.process import Cli

VERBS = (
    "run",
    "run --once --timeout 1s",
    "publish docs",
    "status",
    "trace docs a",
    "dead list docs",
    "topics plan",
    "topics apply",
    "pause docs",
)
#: Twice what the slowest needs on a busy machine: what hangs, hangs for longer.
BOUND_S = 45
SECRET = "xyzzysecret"


SCRAM = f"{{protocol: sasl_plaintext, mechanism: SCRAM-SHA-256, username: u, password: {SECRET}}}"
PLAINTEXT = "{protocol: plaintext}"


def configured(folder: Path, address: str, security: str = SCRAM) -> Cli:
    cli = Cli(folder)
    log = f"{{url: 'kafka://{address}', security: {security}}}"
    cli.write("headwater.yaml", f"log: {log}\nstreams: {{docs: {{recipe: {{embed: {{model: hash}}}}}}}}\n")
    return cli


def said(cli: Cli, verb: str) -> list[str]:
    """Call a verb that ends with exit code 4; return the lines that it said."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "headwater", *verb.split()],
        cwd=cli.folder,
        env=cli.environment,
        input='{"id":"a","text":"b"}\n',
        capture_output=True,
        text=True,
        timeout=2 * BOUND_S,
        check=False,
    )
    assert done.returncode == 4, f"{verb}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert time.monotonic() - began < BOUND_S, verb
    assert SECRET not in done.stdout + done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("address", "cause", "next_step"),
    [
        ("127.0.0.1:1", "Connection refused", "Check the port in log.url, and that the broker runs"),
        ("nowhere.invalid:9092", "nowhere.invalid", "Check the host's name in log.url"),
    ],
)
def test_a_wrong_address(tmp_path: Path, address: str, cause: str, next_step: str) -> None:
    cli = configured(tmp_path, address)
    with ThreadPoolExecutor(len(VERBS)) as at_once:
        for verb, lines in zip(VERBS, at_once.map(lambda verb: said(cli, verb), VERBS), strict=True):
            last = lines[-1]
            assert last.startswith("headwater: kafka: "), verb
            assert cause in last, verb
            assert next_step in last, verb
            assert last.endswith("Nothing was lost [away]"), verb
            assert len(lines) == 1, verb
    assert {path.name for path in tmp_path.iterdir()} == {"headwater.yaml"}


def test_what_needs_no_broker(tmp_path: Path) -> None:
    cli = configured(tmp_path, "127.0.0.1:1")
    assert "there is no such file" in cli("search", "docs", "x", code=4).stderr
    assert "--add" in cli("topics", "acl").stdout
    assert not cli.json("doctor", "--json", code=4)["ok"]


def test_a_broker_that_is_too_old(tmp_path: Path) -> None:
    with old_broker(answers=True) as address:
        cli = Cli(tmp_path)
        cli.write(
            "headwater.yaml", f"log: kafka://{address}\nstreams: {{docs: {{recipe: {{embed: {{model: hash}}}}}}}}\n"
        )
        for verb in ("run --once --timeout 1s", "publish docs", "topics plan"):
            told = "headwater: kafka: the broker is too old. Headwater needs Kafka 2.5 or later [too-old]"
            assert said(cli, verb) == [told]
        assert "too old" in cli("doctor", code=4).stdout
        # It asks for less, and is told of that.
        assert "headwater: kafka: " in said(cli, "status")[-1]


def test_a_broker_that_hangs_up(tmp_path: Path) -> None:
    with old_broker(answers=False) as address:
        cli = Cli(tmp_path)
        cli.write(
            "headwater.yaml", f"log: kafka://{address}\nstreams: {{docs: {{recipe: {{embed: {{model: hash}}}}}}}}\n"
        )
        assert "log.security.protocol" in said(cli, "publish docs")[-1]
