"""`python -m tests.crash N [SEED]`: N kills, half of them with the log and the index in one file, half in two."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.crash.campaign import LEAST, POINTS, run
from tests.crash.judge import judge
from tests.crash.places import Places


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    hits: Counter[str] = Counter()
    bad = 0
    for layout, count in (("one file", (kills + 1) // 2), ("two files", kills // 2)):
        folder = Path(tempfile.mkdtemp(prefix="headwater-crash-"))
        places = Places.make(folder / "site", one_file=layout == "one file")
        report = run(places, count, seed, layout)
        judge(places, report)
        print(report, flush=True)
        for violation in report.violations:
            print(f"  {violation} (see {folder})")
        bad += len(report.violations)
        hits += report.hits
    seldom = [point for point in POINTS if hits[point] < LEAST]
    if seldom:
        print(f"hit fewer than {LEAST} times, so little was shown about them: {', '.join(seldom)}")
    return 1 if bad or seldom else 0


if __name__ == "__main__":
    sys.exit(main())
