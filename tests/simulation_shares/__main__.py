"""`python -m tests.simulation_shares COUNT [FIRST]`: any number of histories, on all processors."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter

from tests.simulation_shares.schedule import FAULTS, run


def play(seed: int) -> tuple[int, list[str], Counter[str]]:
    history = run(seed)
    return seed, history.violations, history.world.counts


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts: Counter[str] = Counter()
    bad = 0
    began = time.monotonic()
    with multiprocessing.Pool() as pool:
        for done, (seed, violations, seen) in enumerate(pool.imap(play, range(first, first + count), chunksize=20), 1):
            counts += seen
            if violations:
                bad += 1
                print(f"seed {seed}: {violations}", flush=True)
            if done % 500 == 0:
                rate = done / (time.monotonic() - began)
                print(f"{done} of {count} histories, {bad} bad, {rate:.0f} a second", flush=True)
    print(f"seeds {first}..{first + count - 1}: {bad} with violations")
    print("faults: " + ", ".join(f"{name} {counts[name]}" for name in FAULTS))
    never = [fault for fault in FAULTS if not counts[fault]]
    if never:
        print(f"never occurred, so nothing was shown about them: {never}")
    return 1 if bad or never else 0


if __name__ == "__main__":
    sys.exit(main())
