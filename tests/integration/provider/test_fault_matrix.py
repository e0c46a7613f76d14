"""Each fault of the provider alone, and in mixtures: the dead are exactly the poisons, and the index is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.rehearsal.plan import Fault
from tests.integration.provider.matrix import MIXED, SILENT, SINGLE, Case, Play, Start


@pytest.mark.parametrize("case", [*SINGLE, *SILENT, *MIXED], ids=lambda case: case.name.replace(" ", "-"))
def test_the_dead_are_the_poisons_and_the_index_is_right(tmp_path: Path, provider: Start, case: Case) -> None:
    outcome = Play(case, tmp_path, provider).play()
    print(outcome.row())
    assert outcome.wrong == []
    if case in SINGLE:
        assert outcome.struck[case.name], "it never struck, so nothing was shown"


def test_every_fault_has_its_row() -> None:
    assert {case.name for case in SINGLE} == set(Fault)
