"""What a release costs when most of it did not change: only the texts that are new, and reading what was edited.

cost <= a * texts embedded + b * characters of the edited documents, with a from a load in which nothing is reused and b
from one in which everything is. The static model learns words as it goes: a is taken when it knows them, so that the
bound is not widened by what only the first load of a process pays.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.report import Figure, median
from bench.site import Changes, copies, corpus, first_release, opened, put, settle, texts_embedded
from headwater.wiring import Site

ROUNDS = 5
KEYS: tuple[str, ...] = ("id", "op", "text")


async def measure() -> list[Figure]:
    """Measure with the static model, in process, each round with a model that knows no word yet."""
    changes = corpus()
    releases = list(dict.fromkeys(change["release"] for change in changes))
    first = first_release(changes)
    characters = sum(len(text) for _, text in first)
    update = [{key: it[key] for key in KEYS if key in it} for it in changes if it["release"] == releases[1]]
    edited_characters = sum(len(change.get("text", "")) for change in update)
    firsts, warm, updates, predicted = [], [], [], []
    texts = 0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder), "static") as site:
                first_s, _ = await _timed(site, [{"id": name, "text": text} for name, text in first])
                # Everything again under other ids: nothing is embedded, everything is derived and written.
                again_s, none = await _timed(site, [{"id": f"again/{name}", "text": text} for name, text in first])
                marked = [{"id": name, "text": text} for name, text in copies(first, 1)]
                fresh_s, fresh = await _timed(site, marked)
                update_s, texts = await _timed(site, update)
        assert none == 0, "a load in which everything is reused embedded something"
        a = max(fresh_s - again_s, 0.0) / fresh
        firsts.append(first_s)
        warm.append(fresh_s)
        updates.append(update_s)
        predicted.append(a * texts + again_s / characters * edited_characters)
    print(f"4.0 -> 4.1: {texts} texts embedded, {len(update)} documents edited or new", flush=True)
    return [
        _against("an incremental release, against a x texts + b x characters", updates, predicted, "<= 1.3"),
        _against("release 4.0 to 4.1, against the full load before it, static model", updates, firsts, "<= 0.25"),
        _against("release 4.0 to 4.1, against a full load by a model that knows the words", updates, warm, None),
    ]


async def _timed(site: Site, changes: Changes) -> tuple[float, int]:
    """Put changes through; return the seconds of the worker, and the texts embedded."""
    await put(site, changes)
    before = await texts_embedded(site)
    seconds = await settle(site)
    return seconds, await texts_embedded(site) - before


def _against(name: str, ours: list[float], theirs: list[float], target: str | None) -> Figure:
    ratio = median([here / there for here, there in zip(ours, theirs, strict=True)])
    return Figure(name, "s", median(ours), median(theirs), ratio, target)
