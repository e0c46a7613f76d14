"""`python -m tests.simulation COUNT [FIRST]`: any number of schedules, on all processors."""

from __future__ import annotations

import sys
from collections import Counter

from tests.histories import explore
from tests.simulation.schedule import run
from tests.simulation.world import FAULTS


def play(seed: int) -> tuple[int, list[str], Counter[str]]:
    world = run(seed)
    return seed, world.violations, world.counts


if __name__ == "__main__":
    sys.exit(explore(play, FAULTS, count=20_000, chunk=50))
