"""`python -m tests.simulation_shares COUNT [FIRST]`: any number of histories, on all processors."""

from __future__ import annotations

import sys
from collections import Counter

from tests.histories import explore
from tests.simulation_shares.schedule import FAULTS, run


def play(seed: int) -> tuple[int, list[str], Counter[str]]:
    history = run(seed)
    return seed, history.violations, history.world.counts


if __name__ == "__main__":
    sys.exit(explore(play, FAULTS, count=2_000, chunk=20))
