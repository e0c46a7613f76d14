"""Peak memory of a first load of large documents, in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import Figure
from bench.site import configure, corpus, first_release, opened, put

DOCUMENTS = 200
CHARACTERS = 1_000_000


async def measure() -> list[Figure]:
    """Publish documents of 1 MB, then run a worker over them and ask the kernel what it needed at most."""
    pool = "\n\n".join(text for _, text in first_release(corpus()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configure(folder, "static")
        async with opened(folder, "static") as site:
            for number in range(DOCUMENTS):
                start = number * 17_003 % (len(pool) - CHARACTERS)
                await put(
                    site, [{"id": f"large/{number}", "text": f"Copy {number}\n" + pool[start : start + CHARACTERS]}]
                )
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        subprocess.run([sys.executable, "-m", "headwater", "run", "--once", "-c", str(config)], check=True,
                       stderr=subprocess.DEVNULL)  # fmt: skip
        peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    note = "" if peak_kib > before else " (of an earlier child)"
    allowed_mb = 400 + 20 * CHARACTERS / 1e6
    return [
        Figure(
            f"peak memory, {DOCUMENTS} documents of 1 MB{note}",
            "MB",
            peak_kib * 1024 / 1e6,
            target=f"<= {allowed_mb:.0f}",
        )
    ]
