"""`python -m tests.simulation_courier COUNT [FIRST]`: any number of histories, on all processors."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter

from tests.simulation_courier.judge import judged
from tests.simulation_courier.world import run


def play(seed: int) -> tuple[int, list[str], Counter[str], int]:
    world = run(seed)
    return seed, judged(world), world.model.struck, len(world.model.seen)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    struck: Counter[str] = Counter()
    bad = calls = 0
    began = time.monotonic()
    with multiprocessing.Pool() as pool:
        for done, (seed, broken, seen, asked) in enumerate(pool.imap(play, range(first, first + count), 20), 1):
            struck += seen
            calls += asked
            if broken:
                bad += 1
                print(f"seed {seed}: {len(broken)} broken, such as {broken[:2]}", flush=True)
            if done % 1_000 == 0:
                print(
                    f"{done} of {count} histories, {bad} bad, {done / (time.monotonic() - began):.0f} a second",
                    flush=True,
                )
    print(f"seeds {first}..{first + count - 1}: {bad} with broken rules, {calls} calls")
    print("struck: " + ", ".join(f"{name} {times}" for name, times in sorted(struck.items())))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
