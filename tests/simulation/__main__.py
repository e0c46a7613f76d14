"""`python -m tests.simulation COUNT [FIRST]`: any number of schedules, on all processors."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter

from tests.simulation.schedule import run
from tests.simulation.world import FAULTS


def play(seed: int) -> tuple[int, list[str], Counter[str]]:
    world = run(seed)
    return seed, world.violations, world.counts


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts: Counter[str] = Counter()
    bad = 0
    began = time.monotonic()
    with multiprocessing.Pool() as pool:
        for done, (seed, violations, seen) in enumerate(pool.imap(play, range(first, first + count), chunksize=50), 1):
            counts += seen
            if violations:
                bad += 1
                print(f"seed {seed}: {violations}", flush=True)
            if done % 2_000 == 0:
                print(
                    f"{done} of {count} schedules, {bad} bad, {done / (time.monotonic() - began):.0f} a second",
                    flush=True,
                )
    print(f"seeds {first}..{first + count - 1}: {bad} with violations")
    print("faults: " + ", ".join(f"{name} {counts[name]}" for name in FAULTS))
    never = [fault for fault in FAULTS if not counts[fault]]
    if never:
        print(f"never occurred, so nothing was shown about them: {never}")
    return 1 if bad or never else 0


if __name__ == "__main__":
    sys.exit(main())
