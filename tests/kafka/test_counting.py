"""In CI a whole run that tested too little against real brokers fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kafka.java import ROOT

TESTS = """
import pytest

@pytest.mark.kafka
@pytest.mark.parametrize("number", range(3))
def test_marked(number):
    if number == 2:
        pytest.skip("does not count")

def test_other():
    pass
"""


def run(folder: Path, least: int, *arguments: str, ci: str = "true") -> subprocess.CompletedProcess[str]:
    (folder / "test_some.py").write_text(TESTS)
    (folder / "least").write_text(str(least))
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = .\nmarkers = kafka: x\n")
    (folder / "conftest.py").write_text(
        "import pathlib\nfrom tests.kafka import counting\n"
        "counting.LEAST = pathlib.Path(__file__).with_name('least')\n"
        "pytest_plugins = ['tests.kafka.counting']\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT), "CI": ci}, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_too_few_fail_a_whole_run(tmp_path: Path, workers: list[str]) -> None:
    enough, few = run(tmp_path, 2, *workers), run(tmp_path, 3, *workers)
    assert enough.returncode == 0, enough.stdout + enough.stderr
    assert "2 tests ran against a real Kafka broker" in enough.stdout
    assert few.returncode == 1, few.stdout + few.stderr
    assert "too few, least says 3" in few.stdout


def test_a_part_of_the_tests_and_a_laptop_are_not_counted(tmp_path: Path) -> None:
    assert run(tmp_path, 3, "test_some.py").returncode == 0
    assert run(tmp_path, 3, "-k", "marked").returncode == 0
    assert run(tmp_path, 3, ci="").returncode == 0
