"""How fast a first load is, against the bare loop, interleaved in one run."""

from __future__ import annotations

import cProfile
import io
import pstats
import tempfile
from pathlib import Path

from bench import bare
from bench.report import Figure, median
from bench.site import STREAM, copies, corpus, first_release, opened, put, settle, texts_embedded

#: Copies of the corpus, so that a side takes at least 5 s.
COPIES = {"static": 7, "hash": 9}
ROUNDS = 3


async def measure(model: str, target: str) -> list[Figure]:
    """Load the same documents both ways, in turns."""
    documents = copies(first_release(corpus()), COPIES[model])
    ours, theirs, chunks = [], [], 0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder), model) as site:
                await site.embedder(STREAM).embed(["warm"])
                seconds, chunks = await bare.load(
                    Path(folder) / "bare.db", documents, site.recipe(STREAM, 1), site.embedder(STREAM)
                )
                theirs.append(seconds)
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder), model) as site:
                await site.embedder(STREAM).embed(["warm"])
                await put(site, ({"id": name, "text": text} for name, text in documents))
                ours.append(await settle(site))
                embedded = await texts_embedded(site)
                assert embedded >= 0.97 * chunks, f"reuse won the race: {embedded} of {chunks} texts embedded"
    ratio = median([there / here for there, here in zip(theirs, ours, strict=True)])
    overhead_us = median([(here - there) / chunks * 1e6 for there, here in zip(theirs, ours, strict=True)])
    print(f"{model}: {chunks} chunks; ours {_seconds(ours)}, bare {_seconds(theirs)}", flush=True)
    return [
        Figure(f"first load, {model} model, against a bare loop", "chunks/s", chunks / median(ours),
               chunks / median(theirs), ratio, target),
        Figure(f"cost of the guarantees, {model} model", "us/chunk", overhead_us),
    ]  # fmt: skip


async def profile(model: str) -> None:
    """Print where the time of a load goes, in the loop's own thread."""
    documents = copies(first_release(corpus()), 1)
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder), model) as site:
            await put(site, ({"id": name, "text": text} for name, text in documents))
            profiler = cProfile.Profile()
            profiler.enable()
            await settle(site)
            profiler.disable()
    out = io.StringIO()
    pstats.Stats(profiler, stream=out).sort_stats("tottime").print_stats(14)
    print(f"profile of a load, {model} model, the loop's thread:")
    print("\n".join(line for line in out.getvalue().splitlines()[4:] if line.strip()))


def _seconds(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values) + " s"
