"""`python -m tests.simulation_courier COUNT [FIRST]`: any number of histories, on all processors."""

from __future__ import annotations

import sys
from collections import Counter

from tests.histories import explore
from tests.simulation_courier.judge import judged
from tests.simulation_courier.world import run

#: What the model does to calls, as `tests.simulation_courier.model` counts it.
FAULTS = (
    *("Reject", "TooLong", "away", "busy", "denied", "dimension", "failed", "full", "gone", "hung", "ill", "limit"),
    *("limited", "lost", "missing", "not finite", "nothing finite", "reordered", "scaled", "silent", "storm"),
    *("swapped", "too large", "twice"),
)


def play(seed: int) -> tuple[int, list[str], Counter[str]]:
    world = run(seed)
    return seed, judged(world), world.model.struck


if __name__ == "__main__":
    sys.exit(explore(play, FAULTS, count=5_000, chunk=20))
