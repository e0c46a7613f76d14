"""Measure how many texts changes cost to embed: a stream of releases, words in a large document, headings.

    python tools/measure_reuse.py CHANGES.jsonl [--size 800] [--edits 1000] [--headings 200] [--processes 2]

CHANGES.jsonl has one change a line: {"id", "op", "text", "time", "release"}. The first release is the load and does not
count. The baseline is a recursive character splitter of the same mean length with perfect reuse within a document.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import random
import re
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

from headwater.model.change import Change, Op, digest
from headwater.model.document import Piece
from headwater.model.version import Place, Version
from headwater.recipe.options import Chunking
from headwater.recipe.sections import headings
from headwater.recipe.standard import StandardRecipe

SEPARATORS = ("\n\n", "\n", " ", "")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD = re.compile(r"[A-Za-z]{3,}")

Row = dict[str, Any]


class Baseline(NamedTuple):
    """What the recursive splitter needs at one chunk size."""

    size: int
    embedded: int
    load: int
    mean: float


def main() -> int:
    options = arguments()
    changes = [json.loads(line) for line in options.changes.read_text().splitlines()]
    report: Row = {"size": options.size, "updates": updates(changes, Chunking(options.size))}
    report["baseline"] = compared(changes, report["updates"])
    if options.headings:
        report["headings"] = of_headings(heading_edits(changes, options.headings, options.size))
    if options.edits:
        report["words"] = of_words(changes, options)
    print(json.dumps(report, indent=1))
    print(table(report), file=sys.stderr)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", type=Path)
    parser.add_argument("--size", type=int, default=800)
    parser.add_argument("--edits", type=int, default=1000, help="edits of one word in the large document")
    parser.add_argument("--length", type=int, default=5_000_000, help="characters of the large document")
    parser.add_argument("--headings", type=int, default=200, help="edits of headings")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def updates(changes: list[Row], chunking: Chunking) -> Row:
    """Derive the stream and count the texts whose vector no live document holds."""
    recipe = StandardRecipe(1, chunking, {}, None, "none")
    held: Counter[bytes] = Counter()
    documents: dict[str, list[bytes]] = {}
    per_update: Counter[str] = Counter()
    sizes: list[int] = []
    spent_s = 0.0
    for name, one in named(changes):
        change = upsert(one["id"], one.get("text") or "")
        began = time.process_time()
        pieces = recipe.derive(change).pieces
        spent_s += time.process_time() - began
        texts = [digest(piece.text) for piece in pieces]
        per_update[name] += sum(not held[text] for text in set(texts))
        held.update(texts)
        held.subtract(documents.get(one["id"], []))
        documents[one["id"]] = texts
        sizes += [piece.end - piece.start for piece in pieces]
    load, *rest = per_update.items()
    return {
        "embedded": sum(count for _, count in rest),
        "load": load[1],
        "per_update": dict(rest),
        "chunks": len(sizes),
        "mean": mean(sizes),
        "median": median(sizes),
        "within": mean(chunking.least <= size <= chunking.most for size in sizes),
        "above_maximum": sum(size > chunking.most for size in sizes),
        "us_per_chunk": spent_s / len(sizes) * 1e6,
    }


def named(changes: list[Row]) -> list[tuple[str, Row]]:
    """Each change with the name of its update: a release can come twice."""
    grouped = itertools.groupby(changes, key=lambda one: one["release"])
    return [(f"{number} {release}", one) for number, (release, rows) in enumerate(grouped) for one in rows]


def compared(changes: list[Row], ours: Row) -> Row:
    """Calibrate the baseline to our mean. It jumps by a percent between sizes, so its neighbours are shown as well."""
    low, high = 50, 5000
    sample = changes[:: max(1, len(changes) // 300)]
    while high - low > 2:
        middle = (low + high) // 2
        low, high = (middle, high) if baseline(sample, middle).mean < ours["mean"] else (low, middle)
    near = [baseline(changes, size) for size in range(low - 24, low + 25, 4)]
    best = min(near, key=lambda one: abs(one.mean - ours["mean"]))
    return {
        **best._asdict(),
        "ratio": ours["embedded"] / best.embedded,
        "ratio_near": [round(ours["embedded"] / one.embedded, 4) for one in near],
    }


def baseline(changes: list[Row], size: int) -> Baseline:
    """Split every version, and count the texts that the version before does not have."""
    documents: dict[str, Counter[str]] = {}
    load = embedded = count = length = 0
    for name, one in named(changes):
        texts = Counter(recursive_split(one["text"], size, SEPARATORS) if one["op"] == "upsert" else [])
        new = (texts - documents.get(one["id"], Counter())).total()
        documents[one["id"]] = texts
        count += texts.total()
        length += sum(len(text) * times for text, times in texts.items())
        if name.startswith("0 "):
            load += new
        else:
            embedded += new
    return Baseline(size, embedded, load, length / count)


def recursive_split(text: str, size: int, separators: tuple[str, ...]) -> list[str]:
    """Cut at the first separator that occurs and fill greedily; what is longer is cut at finer separators."""
    at = next(at for at, one in enumerate(separators) if one in text)
    separator, finer = separators[at], separators[at + 1 :]
    done: list[str] = []
    held: list[str] = []
    length = 0
    for part in text.split(separator) if separator else list(text):
        if held and length + len(separator) + len(part) > size:
            done.append(separator.join(held))
            held, length = [], 0
        if len(part) > size and finer:
            done += recursive_split(part, size, finer)
            continue
        length += len(part) + (len(separator) if held else 0)
        held.append(part)
    done.append(separator.join(held))
    return [stripped for one in done if (stripped := one.strip())]


def of_words(changes: list[Row], options: argparse.Namespace) -> Row:
    """Edits of one word outside headings in one large document."""
    shares = [len(range(at, options.edits, options.processes)) for at in range(options.processes)]
    text = large_document(changes, options.length)
    began = time.perf_counter()
    with ProcessPoolExecutor(options.processes) as pool:
        same = itertools.repeat
        costs = sorted(itertools.chain(*pool.map(word_edits, same(text), shares, range(99), same(options.size))))
    return {
        "length": len(text),
        "edits": len(costs),
        "mean": mean(costs),
        "p95": costs[int(0.95 * len(costs))],
        "max": costs[-1],
        "costs": dict(sorted(Counter(costs).items())),
        "seconds": time.perf_counter() - began,
    }


def word_edits(text: str, count: int, seed: int, size: int) -> list[int]:
    """How many new texts each edit costs: a word replaced, added or removed."""
    rng = random.Random(seed)
    before = {piece.text for piece in derive("large.txt", text, size)}
    taken = [(one.start, one.end) for one in headings(text, "text", [])]
    costs: list[int] = []
    while len(costs) < count:
        match = WORD.search(text, rng.randrange(len(text)))
        if match is None:
            continue
        near = bisect.bisect_right(taken, (match.start(), len(text))) - 1
        if near >= 0 and match.start() < taken[near][1]:
            continue
        word = "".join(rng.choices(LETTERS, k=rng.randint(2, 12)))
        put = rng.choice([word, f"{match[0]} {word}", ""])
        edited = text[: match.start()] + put + text[match.end() :]
        costs.append(len({piece.text for piece in derive("large.txt", edited, size)} - before))
    return costs


def large_document(changes: list[Row], length: int) -> str:
    """Documents of the load in a seeded order, joined up to `length` characters."""
    texts = [text for _, text in loaded(changes)]
    random.Random(5).shuffle(texts)
    return "\n\n".join(texts)[:length]


def of_headings(results: list[tuple[int, int]]) -> Row:
    """Edits of headings against the chunks that overlap what stands under them."""
    return {
        "edits": len(results),
        "embedded": sum(new for new, _ in results),
        "under": sum(under for _, under in results),
        "violations": sum(new > under for new, under in results),
    }


def heading_edits(changes: list[Row], count: int, size: int) -> list[tuple[int, int]]:
    """(texts to embed, chunks overlapping the section with its subsections) for a changed word in a heading."""
    rng = random.Random(3)
    documents = [(id_, text) for id_, text in loaded(changes) if 5_000 < len(text) < 60_000]
    results: list[tuple[int, int]] = []
    while len(results) < count:
        id_, text = rng.choice(documents)
        found = headings(text, "text", [])
        if not found:
            continue
        at = rng.randrange(len(found))
        one = found[at]
        edited = text[: one.start] + renamed(text[one.start : one.end], one.title, rng) + text[one.end :]
        end = next((later.start for later in found[at + 1 :] if later.level <= one.level), len(text))
        end += len(edited) - len(text)
        pieces = derive(id_, edited, size)
        new = {piece.text for piece in pieces} - {piece.text for piece in derive(id_, text, size)}
        results.append((len(new), sum(piece.end > one.start and piece.start < end for piece in pieces)))
    return results


def renamed(block: str, title: str, rng: random.Random) -> str:
    """Change a word of a heading; half of the time the underline follows."""
    words = title.split()
    words[rng.randrange(len(words))] = "".join(rng.choices(LETTERS, k=rng.randint(1, 14)))
    new = " ".join(words)
    changed = block.replace(title, new, 1)
    mark = block.rstrip()[-1]
    return re.sub(re.escape(mark) + "{3,}", mark * max(4, len(new)), changed) if rng.random() < 0.5 else changed


def loaded(changes: list[Row]) -> list[tuple[str, str]]:
    """Ids and texts of the load."""
    return sorted((one["id"], one["text"]) for one in changes if one["release"] == changes[0]["release"])


def derive(id_: str, text: str, size: int) -> tuple[Piece, ...]:
    return StandardRecipe(1, Chunking(size), {}, None, "none").derive(upsert(id_, text)).pieces


def upsert(id_: str, text: str) -> Change:
    return Change(id_, Op.UPSERT, Version(1, 0, 0, 0), Place(0, 0), {"text": text}, digest(b""), 0, 0, len(text))


def table(report: Row) -> str:
    """The figures beside what they must reach."""
    ours, base = report["updates"], report["baseline"]
    rows = [
        ("texts embedded in the updates", ours["embedded"], ""),
        ("the baseline's, at the same mean", base["embedded"], f"mean {ours['mean']:.0f} and {base['mean']:.0f}"),
        ("ratio", f"{base['ratio']:.3f}", f"at most 0.75; near {min(base['ratio_near'])} to {max(base['ratio_near'])}"),
        ("chunks within minimum and maximum", f"{ours['within']:.2%}", "at least 95 %"),
        ("microseconds a chunk", f"{ours['us_per_chunk']:.0f}", ""),
    ]
    if words := report.get("words"):
        rows.append(("new texts a word, p95", words["p95"], "at most 3"))
        rows.append(("new texts a word, most", words["max"], "at most 6"))
    if heads := report.get("headings"):
        rows.append(("headings that cost more than is under them", heads["violations"], f"0 of {heads['edits']}"))
    return "\n".join(f"{name:44}{value!s:>10}  {note}" for name, value, note in rows)


if __name__ == "__main__":
    sys.exit(main())
