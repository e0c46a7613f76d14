"""Numbers as people say them."""

from __future__ import annotations

import pytest

from headwater.cli.output import rough
from headwater.cli.trace import _later
from headwater.observability.findings import counted


def test_a_noun_agrees_with_its_number() -> None:
    assert [counted(number, "change") for number in (0, 1, 2)] == ["0 changes", "1 change", "2 changes"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0004, "0.000 s"), (59.5, "59.500 s"), (90, "1.5 min"), (7560, "2.1 h"), (90_000, "1.0 d"), (2.2e8, "7.0 y")],
)
def test_durations_have_a_fitting_unit(seconds: float, said: str) -> None:
    assert rough(seconds) == said


def test_a_hop_that_seems_to_be_before_the_last_names_the_clock() -> None:
    assert _later(1_500_000) == "+1.500 s"
    assert _later(-7_560_000_000) == "clock ahead by 2.1 h"
