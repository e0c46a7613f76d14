"""What a release costs when most of it did not change: only the texts that are new, and reading what was edited.

cost <= a * texts embedded + b * characters of the edited documents, with a from a load in which nothing is reused and b
from one in which everything is.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.report import Figure, median
from bench.site import copies, corpus, first_release, opened, put, settle, texts_embedded

ROUNDS = 3


async def measure() -> list[Figure]:
    """Measure with the static model, in process."""
    changes = corpus()
    releases = list(dict.fromkeys(change["release"] for change in changes))
    first = first_release(changes)
    update = [change for change in changes if change["release"] == releases[1]]
    edited_characters = sum(len(change.get("text", "")) for change in update)
    loads, updates, predicted, texts = [], [], [], 0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder), "static") as site:
                # Warm the model with other texts, so that neither side pays for what the process learns once.
                await put(site, ({"id": f"warm/{name}", "text": text} for name, text in copies(first[:100], 1)))
                await settle(site)
                before = await texts_embedded(site)
                await put(site, ({"id": name, "text": text} for name, text in first))
                load_s = await settle(site)
                loaded = await texts_embedded(site) - before
                # Everything again under other ids: nothing is embedded, everything is derived and written.
                await put(site, ({"id": f"again/{name}", "text": text} for name, text in first))
                again_s = await settle(site)
                reembedded = await texts_embedded(site) - before - loaded
                await put(
                    site, ({key: change[key] for key in ("id", "op", "text") if key in change} for change in update)
                )
                update_s = await settle(site)
                texts = await texts_embedded(site) - before - loaded - reembedded
        characters = sum(len(text) for _, text in first)
        b = again_s / characters
        a = max(load_s - again_s, 0.0) / loaded
        loads.append(load_s)
        updates.append(update_s)
        predicted.append(a * texts + b * edited_characters)
    print(f"4.0 -> 4.1: {texts} texts embedded, {len(update)} documents; load {loads}, update {updates}", flush=True)
    return [
        Figure("an incremental release, against a x texts + b x characters", "s", median(updates), median(predicted),
               median([it / cost for it, cost in zip(updates, predicted, strict=True)]), "<= 1.3"),
        Figure("release 4.0 to 4.1, against a full load, static model", "s", median(updates), median(loads),
               median([it / load for it, load in zip(updates, loads, strict=True)]), "<= 0.25"),
    ]  # fmt: skip
