"""Peak memory of a worker that finds a backlog of large records."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.kafka_site import broker, configure, fill, skipped
from bench.memory import LAUNCHER
from bench.report import Figure

RECORDS = 3_000
CHARACTERS = 100_000
#: Each document comes ten times: what is measured is what waits, and the model need not see all of it.
DOCUMENTS = 300
PARTITIONS = 8


def measure() -> list[Figure]:
    """Run a worker over 300 MB and ask the kernel what it needed at most."""
    if (none := skipped()) is not None:
        return none
    sentence = "The gauge at the lower reservoir reads the level that the outflow leaves behind. "
    text = (sentence * (CHARACTERS // len(sentence) + 1))[:CHARACTERS]
    records = ((f"large/{number % DOCUMENTS}", {"text": f"Copy {number}\n{text}"}) for number in range(RECORDS))
    with broker() as kafka, tempfile.TemporaryDirectory() as name:
        config = configure(Path(name), kafka, fill(kafka, records, PARTITIONS))
        worker = [sys.executable, "-m", "headwater", "run", "--once", "-c", str(config)]
        launched = subprocess.run([sys.executable, "-c", LAUNCHER, *worker], check=True, capture_output=True)
    peak_mb = int(launched.stdout.split()[-1]) * 1024 / 1e6
    name = f"peak memory over a backlog of {RECORDS * CHARACTERS / 1e6:.0f} MB in records of 100 KB"
    return [Figure(name, "MB", peak_mb, target="<= 300")]
