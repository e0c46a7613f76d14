"""How long people wait for what does nothing yet: `--help`, that of each verb, and a press of Tab."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.report import Figure, median
from headwater.cli.reference import verbs

CONFIG = "streams:\n" + "".join(f"  stream-{number}: {{}}\n" for number in range(50))
TAB = {"_HEADWATER_COMPLETE": "complete_bash", "COMP_WORDS": "headwater search stream-", "COMP_CWORD": "2"}


def measure() -> list[Figure]:
    """A fresh process each time."""
    of_verbs = {verb: median([_seconds(*verb.split(), "--help") for _ in range(3)]) for verb in verbs()}
    slowest = max(of_verbs, key=lambda verb: of_verbs[verb])
    return [
        Figure("headwater --help", "ms", median([_seconds("--help") for _ in range(7)]) * 1e3, target="<= 300"),
        Figure(f"headwater {slowest} --help, the slowest", "ms", of_verbs[slowest] * 1e3, target="<= 300"),
        Figure("completion of a stream's name, 50 streams", "ms", median(list(_tabs())) * 1e3, target="<= 300"),
    ]


def _tabs() -> Iterator[float]:
    with TemporaryDirectory() as folder:
        (Path(folder) / "headwater.yaml").write_text(CONFIG)
        for _ in range(7):
            yield _seconds(folder=folder, more=TAB)


def _seconds(*arguments: str, folder: str | None = None, more: dict[str, str] | None = None) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "headwater", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        env={**os.environ, **(more or {})},
    )
    return time.perf_counter() - began
