"""How long `headwater --help` takes."""

from __future__ import annotations

import subprocess
import sys
import time

from bench.report import Figure, median


def measure() -> list[Figure]:
    """A fresh process each time."""
    times = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "headwater", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return [Figure("headwater --help", "ms", median(times) * 1e3, target="<= 300")]
