"""Search over 50,000 chunks in a running process."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.report import Figure, percentile
from bench.site import STREAM, copies, corpus, first_release, opened, put, settle

CHUNKS = 50_000
QUERIES = 200


async def measure() -> list[Figure]:
    """Ask with real titles; the query's embedding is part of the time."""
    documents = first_release(corpus())
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder), "static") as site:
            await put(site, ({"id": name, "text": text} for name, text in copies(documents, 8)))
            await settle(site)
            retriever = site.retriever(STREAM)
            began = time.perf_counter()
            await retriever.search("warm", 10, {})
            first_s = time.perf_counter() - began
            stored = sum([len(it.manifest.chunks) async for it in site.index(STREAM).scan()])
            assert stored >= CHUNKS, f"only {stored} chunks"
            waits = []
            for name, text in (documents * 2)[:QUERIES]:
                began = time.perf_counter()
                hits = await retriever.search(text.strip().split("\n")[0] or name, 10, {})
                waits.append(time.perf_counter() - began)
                assert len(hits) == 10
    return [
        Figure(f"search over {stored} chunks, p50", "ms", percentile(waits, 0.5) * 1e3, target="<= 15"),
        Figure(f"search over {stored} chunks, p99", "ms", percentile(waits, 0.99) * 1e3),
        Figure("first search of a process (loads the vectors)", "ms", first_s * 1e3),
    ]
