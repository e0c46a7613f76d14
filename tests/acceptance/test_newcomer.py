"""The README, followed to the letter by somebody who has a checkout and a folder of 500 notes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tools import newcomer


def test_nothing_is_lent_that_headwater_does_not_ask_for(tmp_path: Path) -> None:
    newcomer._environment(tmp_path)
    lent = {it.name for it in (tmp_path / ".lent").iterdir()}
    assert {"numpy", "pydantic", "typer", "hatchling"} <= lent
    # They are installed here for the tests, or come with extras.
    assert not lent & {"pytest", "lxml", "confluent_kafka", "headwater", "pip"}


def test_the_readme_leads_from_an_empty_environment_to_the_first_hit(tmp_path: Path) -> None:
    first = newcomer.follow(tmp_path)

    assert first.code == 0, first.printed
    assert f"articles: {newcomer.DOCUMENTS + 1} changes settled, 0 behind" in first.printed
    assert "Created wheel for headwater" in first.printed
    best = first.printed.partition("\n1. ")[2].partition("\n2. ")[0]
    assert "delet" in best.lower() or "welcome.md" in best, first.printed
    assert "welcome.md" in first.hits
    # It ran from the wheel and in the new environment, and knew nothing of the checkout.
    python = tmp_path / ".venvs" / "headwater" / "bin" / "python"
    where = subprocess.run(
        [python, "-c", "import headwater; print(headwater.__file__)"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(tmp_path / ".venvs")
    assert str(newcomer.ROOT) not in (tmp_path / "notes" / "headwater.yaml").read_text()
