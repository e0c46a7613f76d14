"""Whatever happens to workers and log: no window holds more than the limit, and in the end all of it is used."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation_shares.schedule import FAULTS, run

SCHEDULES = 80
PART = 20


@pytest.mark.parametrize("start", range(0, SCHEDULES, PART))
def test_no_window_holds_more_than_the_limit(start: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(start, start + PART):
        history = run(seed)
        assert not history.violations, f"seed {seed}: {history.violations}"
        counts += history.world.counts
    assert all(counts[fault] for fault in FAULTS), counts
