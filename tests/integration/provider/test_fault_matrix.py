"""The faults of the provider: the dead are exactly the poisons, and the index is right.

Here are the mixtures, and the faults that are in none of them: `python -m
tests.integration.provider.fault_matrix` plays each alone as well.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.rehearsal.plan import Fault
from tests.integration.provider.matrix import MIXED, SILENT, SINGLE, Case, Play, Start

#: In no mixture: a person has to mend them.
ALONE = (Fault.BAD_KEY, Fault.NO_QUOTA, Fault.WRONG_DIMENSION)


CASES = [*(case for case in SINGLE if case.name in ALONE), *SILENT, *MIXED]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_the_dead_are_the_poisons_and_the_index_is_right(tmp_path: Path, provider: Start, case: Case) -> None:
    outcome = Play(case, tmp_path, provider).play()
    print(outcome.row())
    assert outcome.wrong == []
    if case in SINGLE:
        assert outcome.struck[case.name], "it never struck, so nothing was shown"


def test_every_fault_has_its_row() -> None:
    assert {case.name for case in SINGLE} == set(Fault)
