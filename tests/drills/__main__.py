"""`python -m tests.drills [NAME...] --seconds 30 --seed 1`: these drills, all of them unless named."""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

from tests.acceptance.corpus import ROOT, load
from tests.drills.drill import DRILLS, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(DRILLS))
    parser.add_argument("--seconds", type=float, default=30.0, help="how long harm is done")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - set(DRILLS)):
        parser.error(f"no such drill: {', '.join(unknown)}; there are {', '.join(DRILLS)}")
    corpus = load(Path(os.environ.get("HEADWATER_CORPUS") or ROOT / "build" / "corpus"))
    bad = 0
    for name in asked.names or DRILLS:
        report = run(name, corpus, asked.seconds, asked.seed)
        print(report, flush=True)
        for violation in report.judgement.violations:
            print(f"  {violation}")
        for what in report.harmless:
            print(f"  there were no {what}: nothing was shown about them")
        bad += len(report.judgement.violations) + len(report.harmless)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
