"""One change, from the beginning of its `publish` to the moment a search finds it; and what waiting for it costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.report import Figure, percentile
from bench.site import STREAM, configure, corpus, first_release, opened, put
from headwater.clock import SystemClock
from headwater.wiring import Site

CHANGES = 300
IDLE_S = 10.0


async def measure() -> list[Figure]:
    """A worker process serves; this process publishes and polls the index's reader."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = configure(folder, "static")
        async with opened(folder, "static") as site:
            await put(site, ({"id": name, "text": text} for name, text in first_release(corpus())[:200]))
            subprocess.run([sys.executable, "-m", "headwater", "run", "--once", "-c", str(config)], check=True,
                           stderr=subprocess.DEVNULL)  # fmt: skip
            worker = subprocess.Popen([sys.executable, "-m", "headwater", "run", "-c", str(config)],
                                      stderr=subprocess.DEVNULL)  # fmt: skip
            try:
                waits = await _changes(site)
                before = _cpu_s(worker.pid)
                await SystemClock().sleep(IDLE_S)
                idle = (_cpu_s(worker.pid) - before) / IDLE_S
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.wait(30)
    return [
        Figure("freshness of one published change, p50", "ms", percentile(waits, 0.5) * 1e3, target="<= 100"),
        Figure("freshness of one published change, p99", "ms", percentile(waits, 0.99) * 1e3),
        Figure("an idle worker", "core", idle, target="<= 0.01"),
    ]


async def _changes(site: Site) -> list[float]:
    reader = site.index(STREAM)
    waits = []
    for number in range(CHANGES):
        text = f"The measured change number {number} says something about reservoirs."
        query = (await site.embedder(STREAM).embed([text])).vectors[0].tobytes()
        began = time.perf_counter()
        await put(site, [{"id": f"fresh/{number}", "text": text}])
        while True:
            # The model does not see the order of digits: 12 and 21 are the same to it.
            if any(hit.manifest.id == f"fresh/{number}" for hit in await reader.search(query, 10, {})):
                break
            assert time.perf_counter() - began < 30, "the change never became searchable"
            await SystemClock().sleep(0.001)
        waits.append(time.perf_counter() - began)
        await SystemClock().sleep(0.02 + 0.01 * (number % 7))
    return waits[20:]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
