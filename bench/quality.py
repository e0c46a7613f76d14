"""`python -m bench.quality`: retrieval before and after a recipe is moved from the built-in model to onnx.

One log, an index for each recipe, made as a user makes them: `headwater publish`, then `headwater run --once` for each.
A section's title asks for its own passage (bench/titles.py); the product's retriever answers, and a passage ranks where
its best chunk does. Prints a table and writes build/quality.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.ranking import Comparison, compare, first_of_each, ndcg, recall
from bench.titles import Passage, passages, questions
from headwater.wiring import open_site

OUT = Path("build/quality.json")
RELEASE = Path("build/corpus/releases/7-5.0")
#: What a release changed is said in the same words again and again: no title asks for one of those passages alone.
EXCEPT = "releases/"
STREAM = "passages"
PASSAGES, QUERIES = 3000, 1000
#: Chunks asked for, so that a hundred passages are among them.
CHUNKS = 400
DEEP = 100
MEMORY = 4 << 30


@dataclass(frozen=True)
class Arm:
    """One recipe, and the index that it makes."""

    name: str
    chunk: str
    model: str

    def configure(self, folder: Path) -> Path:
        path = folder / "headwater.yaml"
        path.write_text(
            f"log: sqlite:///headwater.db\nstreams:\n  {STREAM}:\n    recipe:\n      chunk: {self.chunk}\n"
            f"      embed: {{model: {self.model}}}\n      format: text\n    index: sqlite:///{self.name}.db\n"
        )
        return path


# So small that no chunk has more tokens than onnx takes.
SMALL = "{size: 400, maximum: 480}"
ARMS = (
    Arm("static", "{size: 800}", "static"),
    Arm("static-small", SMALL, "static"),
    Arm("onnx-small", SMALL, "onnx/all-MiniLM-L6-v2"),
)


@dataclass(frozen=True)
class Outcome:
    """What a recipe reached, query by query."""

    arm: Arm
    chunks: int
    seconds: float
    ndcg: list[float]
    recall: list[float]


def main() -> int:
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    found = passages(documents(), PASSAGES)
    asking = questions(found, QUERIES)
    print(f"{len(found)} passages, {sum(len(it.text) for it in found)} characters, {len(asking)} queries", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [run(arm, Path(folder), found if arm is ARMS[0] else [], asking) for arm in ARMS]
    report(outcomes)
    return 0


def documents() -> dict[str, str]:
    """The documents of one release, by name."""
    names = {str(path.relative_to(RELEASE)): path for path in sorted(RELEASE.rglob("*.txt"))}
    return {name: path.read_text(encoding="utf-8") for name, path in names.items() if not name.startswith(EXCEPT)}


def run(arm: Arm, folder: Path, publish: Sequence[Passage], asking: Sequence[Passage]) -> Outcome:
    """Publish what is new, bring the arm's index up to the log, and ask it everything."""
    config = arm.configure(folder)
    if publish:
        lines = (json.dumps({"id": it.id, "text": it.text}) + "\n" for it in publish)
        headwater(folder, "publish", STREAM, lines="".join(lines))
    print(f"{arm.name}: {arm.model}, chunk {arm.chunk}", flush=True)
    began = time.perf_counter()
    headwater(folder, "run", "--once")
    seconds = time.perf_counter() - began
    dead = json.loads(headwater(folder, "dead", "list", STREAM, "--json"))["dead"]
    assert not dead, f"{len(dead)} passages are missing, the first because of: {dead[0]['reason']}"
    return asyncio.run(ask(arm, config, asking, seconds))


def headwater(folder: Path, *command: str, lines: str = "") -> str:
    """Run the command line; what it says of its progress goes through."""
    words = [sys.executable, "-m", "headwater", *command]
    done = subprocess.run(words, cwd=folder, input=lines, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, f"headwater {command[0]} ended with {done.returncode}"
    return done.stdout


async def ask(arm: Arm, config: Path, asking: Sequence[Passage], seconds: float) -> Outcome:
    """Search for every title."""
    site = open_site(config, {})
    try:
        retriever = site.retriever(STREAM)
        chunks = sum([len(it.manifest.chunks) async for it in site.index(STREAM).scan()])
        outcome = Outcome(arm, chunks, seconds, [], [])
        for number, question in enumerate(asking, 1):
            hits = await retriever.search(question.title, CHUNKS, {})
            ranked = first_of_each((hit.manifest.id for hit in hits), DEEP)
            assert len(ranked) == DEEP, f"only {len(ranked)} passages in {len(hits)} chunks"
            outcome.ndcg.append(ndcg(ranked, {question.id}, 10))
            outcome.recall.append(recall(ranked, {question.id}, DEEP))
            if number % 250 == 0:
                print(f"  {number} of {len(asking)} queries", flush=True)
    finally:
        await site.close()
    return outcome


def report(outcomes: Sequence[Outcome]) -> None:
    """Print what each reached and how the last compares with each before it, and write the file."""
    rows = []
    print(f"\n{'recipe':14} {'chunks':>7} {'load s':>7} {'nDCG@10':>8} {'recall@100':>11}")
    for it in outcomes:
        means = (sum(it.ndcg) / len(it.ndcg), sum(it.recall) / len(it.recall))
        print(f"{it.arm.name:14} {it.chunks:7} {it.seconds:7.1f} {means[0]:8.4f} {means[1]:11.4f}")
        rows.append({**asdict(it.arm), "chunks": it.chunks, "load_s": it.seconds, "ndcg": means[0], "recall": means[1]})
    last = outcomes[-1]
    compared = {}
    print(f"\n{last.arm.name}, less, query by query: mean [95 % interval]; better, worse, equal")
    for it in outcomes[:-1]:
        for measure, before, after in (("nDCG@10", it.ndcg, last.ndcg), ("recall@100", it.recall, last.recall)):
            found = compare(before, after)
            print(f"{it.arm.name:14} {measure:10} {said(found)}")
            compared[f"{it.arm.name} {measure}"] = asdict(found)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"queries": len(last.ndcg), "recipes": rows, "compared": compared}, indent=1) + "\n")
    print(f"\nwrote {OUT}")


def said(it: Comparison) -> str:
    """A comparison as a line."""
    return f"{it.mean:+.4f} [{it.low:+.4f}, {it.high:+.4f}]; {it.wins}, {it.losses}, {it.ties}"


if __name__ == "__main__":
    sys.exit(main())
