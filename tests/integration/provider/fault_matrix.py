"""`python -m tests.integration.provider.fault_matrix [NAME]`: play the fault matrix and print it as a table.

`--away SECONDS` says for how long the model's name is wrong in the case that has it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.integration.provider.matrix import HEAD, MIXED, SILENT, SINGLE, Case, Outcome, Play
from tests.provider.provider import Provider


def played(case: Case) -> Outcome:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as started:

        def start(**plan: Any) -> Provider:
            return started.enter_context(closing(Provider(Path(folder) / "provider", plan)))

        return Play(case, Path(folder), start).play()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", default="", help="only cases with this in their name")
    parser.add_argument("--away", type=float, default=5.0)
    wanted = parser.parse_args()
    print(HEAD, flush=True)
    good = True
    for case in (*SINGLE, *SILENT, *MIXED):
        if wanted.name in case.name:
            outcome = played(replace(case, seconds=wanted.away) if case.seconds else case)
            print(outcome.row(), flush=True)
            good = good and not outcome.wrong
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
