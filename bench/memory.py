"""Peak memory of a first load of large documents, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import Figure
from bench.site import configure, corpus, first_release, opened, put

DOCUMENTS = 200
CHARACTERS = 1_000_000
#: A child's peak counts from what its parent held when it was forked: so a small process starts the measured one.
LAUNCHER = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


async def measure() -> list[Figure]:
    """Publish documents of 1 MB, then run a worker over them and ask the kernel what it needed at most."""
    pool = "\n\n".join(text for _, text in first_release(corpus()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configure(folder, "static")
        async with opened(folder, "static") as site:
            for number in range(DOCUMENTS):
                start = number * 17_003 % (len(pool) - CHARACTERS)
                text = f"Copy {number}\n" + pool[start : start + CHARACTERS]
                await put(site, [{"id": f"large/{number}", "text": text}])
        worker = [sys.executable, "-m", "headwater", "run", "--once", "-c", str(config)]
        launched = subprocess.run([sys.executable, "-c", LAUNCHER, *worker], check=True, capture_output=True)
    peak_mb = int(launched.stdout.split()[-1]) * 1024 / 1e6
    allowed_mb = 400 + 20 * CHARACTERS / 1e6
    name = f"peak memory of a first load, {DOCUMENTS} documents of 1 MB"
    return [Figure(name, "MB", peak_mb, target=f"<= {allowed_mb:.0f}")]
