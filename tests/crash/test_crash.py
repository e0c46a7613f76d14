"""Forty processes die, at every point, in each layout of the files; then everything must be there, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.campaign import run
from tests.crash.judge import judge
from tests.crash.places import Places

KILLS = 40


@pytest.mark.parametrize("layout", ["one file", "two files"])
def test_what_was_acknowledged_survives_every_death(layout: str, tmp_path: Path) -> None:
    places = Places.make(tmp_path / "site", one_file=layout == "one file")
    report = run(places, KILLS, seed=20, layout=layout)
    assert report.never == [], "hit too seldom"
    judge(places, report)
    print(report)
    assert report.violations == []
