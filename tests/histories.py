"""Plays any number of seeds of a simulation on all processors: `python -m PACKAGE COUNT [FIRST]`."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

#: Switches a safeguard off.
Off = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Safeguard:
    """A safeguard and the rule that is broken without it."""

    name: str
    broken: str
    off: Off
    first_seed: int = 0  # where to begin looking: some need a rare history


#: Plays one seed: the rules that it broke, and how often each fault occurred.
Play = Callable[[int], tuple[int, list[str], Counter[str]]]


def explore(play: Play, faults: Sequence[str], count: int, chunk: int) -> int:
    """Play `count` seeds, or as many as the command line says, and print what came of it. Return an exit code.

    A fault that never occurred shows nothing, and fails as a broken rule does.
    """
    count = int(sys.argv[1]) if len(sys.argv) > 1 else count
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts: Counter[str] = Counter()
    bad = 0
    began = time.monotonic()
    with multiprocessing.Pool() as pool:
        for done, (seed, broken, seen) in enumerate(pool.imap(play, range(first, first + count), chunk), 1):
            counts += seen
            if broken:
                bad += 1
                print(f"seed {seed}: {len(broken)} broken, such as {broken[:2]}", flush=True)
            if done % (50 * chunk) == 0:
                rate = done / (time.monotonic() - began)
                print(f"{done} of {count} histories, {bad} bad, {rate:.0f} a second", flush=True)
    print(f"seeds {first}..{first + count - 1}: {bad} with violations")
    print("faults: " + ", ".join(f"{name} {counts[name]}" for name in faults))
    never = [fault for fault in faults if not counts[fault]]
    if never:
        print(f"never occurred, so nothing was shown about them: {never}")
    return 1 if bad or never else 0
