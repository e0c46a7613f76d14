"""Measure how many texts a stream of changes costs to embed, against a recursive character splitter.

    python tools/measure_reuse.py CHANGES.jsonl [--size 800] [--edits 1000] [--headings 200] [--processes 2]

One change a line: {"id", "op", "text", "time", "release"}. The first release is the load and does not count.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import time
from pathlib import Path
from typing import Any

from headwater.model.change import Change, Op, digest
from headwater.model.document import Piece
from headwater.model.version import Place, Version
from headwater.recipe.options import Chunking
from headwater.recipe.standard import StandardRecipe

SEPARATORS = ["\n\n", "\n", " ", ""]


def recursive_split(text: str, size: int, separators: list[str]) -> list[str]:
    """The baseline: cut at the first separator that occurs, join greedily up to the size, go on with the next separator
    in what is still too long."""
    separator = next((one for one in separators if one == "" or one in text), "")
    finer = separators[separators.index(separator) + 1 :]
    parts = text.split(separator) if separator else list(text)
    done: list[str] = []
    held: list[str] = []
    length = 0
    for part in parts:
        if len(part) > size:
            if held:
                done.append(separator.join(held))
                held, length = [], 0
            done += recursive_split(part, size, finer) if finer else [part]
            continue
        added = len(part) + (len(separator) if held else 0)
        if held and length + added > size:
            done.append(separator.join(held))
            held, length, added = [], 0, len(part)
        held.append(part)
        length += added
    if held:
        done.append(separator.join(held))
    return [stripped for one in done if (stripped := one.strip())]


def change(id_: str, text: str) -> Change:
    """An upsert of a text."""
    place = Place(0, 0)
    return Change(id_, Op.UPSERT, Version(1, 0, 0, 0), place, {"text": text}, digest(b""), 0, 0, len(text))


def read(path: Path) -> list[dict[str, Any]]:
    """All changes."""
    with path.open() as file:
        return [json.loads(line) for line in file]


def baseline(changes: list[dict[str, Any]], size: int) -> tuple[int, float, int]:
    """(texts embedded in the updates, mean length, texts of the load) of the baseline, with perfect reuse within a document."""
    held: dict[str, collections.Counter[str]] = {}
    first = changes[0]["release"]
    loading = True
    embedded = loaded = count = length = 0
    for one in changes:
        loading = loading and one["release"] == first
        texts = collections.Counter(recursive_split(one["text"], size, SEPARATORS) if one["op"] == "upsert" else [])
        new = sum((texts - held.get(one["id"], collections.Counter())).values())
        held[one["id"]] = texts
        count += texts.total()
        length += sum(len(text) * times for text, times in texts.items())
        if loading:
            loaded += new
        else:
            embedded += new
    return embedded, length / count, loaded


def calibrated(changes: list[dict[str, Any]], mean: float) -> tuple[int, int, float, int]:
    """The baseline at the chunk size whose mean length is nearest to `mean`: (size, embedded, mean, load)."""
    low, high = 50, 5000
    sample = changes[:: max(1, len(changes) // 300)]
    while high - low > 4:
        middle = (low + high) // 2
        low, high = (middle, high) if baseline(sample, middle)[1] < mean else (low, middle)
    near = [(size, *baseline(changes, size)) for size in range(low - 8, high + 9, 4)]
    return min(((size, texts, found, load) for size, texts, found, load in near), key=lambda row: abs(row[2] - mean))


def updates(changes: list[dict[str, Any]], recipe: StandardRecipe) -> dict[str, Any]:
    """Derive the stream and count the texts whose vector no live document holds."""
    held: collections.Counter[bytes] = collections.Counter()
    documents: dict[str, list[bytes]] = {}
    per_release: collections.Counter[str] = collections.Counter()
    first = changes[0]["release"]
    loading = True
    embedded = loaded = count = length = good = small_documents = 0
    least, most = recipe._chunking.least, recipe._chunking.most
    spent = 0.0
    run = 0
    last = first
    for one in changes:
        loading = loading and one["release"] == first
        if one["release"] != last:
            last, run = one["release"], run + 1
        pieces: tuple[Piece, ...] = ()
        if one["op"] == "upsert":
            made = change(one["id"], one["text"])
            began = time.perf_counter()
            pieces = recipe.derive(made).pieces
            spent += time.perf_counter() - began
        digests = [digest(piece.text) for piece in pieces]
        new = sum(1 for text in set(digests) if not held[text])
        before = documents.get(one["id"], [])
        held.update(digests)
        held.subtract(before)
        documents[one["id"]] = digests
        sizes = [piece.end - piece.start for piece in pieces]
        count += len(sizes)
        length += sum(sizes)
        good += sum(least <= size <= most for size in sizes)
        small_documents += len(sizes) == 1 and sizes[0] < least
        if loading:
            loaded += new
        else:
            embedded += new
            per_release[f"{run}:{one['release']}"] += new
    return {
        "embedded": embedded,
        "load": loaded,
        "chunks": count,
        "mean": length / count,
        "within": good / count,
        "small_documents": small_documents,
        "microseconds_per_chunk": spent / count * 1e6,
        "per_release": dict(per_release),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("changes", type=Path)
    parser.add_argument("--size", type=int, default=800)
    options = parser.parse_args()
    changes = read(options.changes)
    recipe = StandardRecipe(1, Chunking(options.size), {}, None, "none")
    ours = updates(changes, recipe)
    print(json.dumps(ours))
    sys.stdout.flush()
    size, embedded, mean, load = calibrated(changes, ours["mean"])
    print(size, embedded, mean, load, ours["embedded"] / embedded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
