"""Seven releases published through the command line, a worker process after each."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headwater.demo.processes import Headwater
from headwater.model.receipt import Receipt
from headwater.recipe.options import Chunking
from headwater.wiring import open_site
from tests.acceptance.corpus import Corpus, judged, measuring
from tests.acceptance.site import STREAM, configure, receipts_of

pytestmark = pytest.mark.corpus

CHUNKING = Chunking(800)

#: After which releases the whole index is judged: the last one, and the one before it, which deletes nothing.
JUDGED = ("6 5.2", "7 5.0")

#: Outcomes of changes that came one by one: nothing overtook anything, nothing failed.
ORDERLY = {"indexed", "unchanged", "payload-only", "deleted"}


class Published(NamedTuple):
    """What the run left: the status after each release, what verify and the oracle said, the exports, the receipts."""

    status: dict[str, dict[str, Any]]
    verified: dict[str, dict[str, Any]]
    judged: dict[str, str]
    exported: dict[str, list[dict[str, Any]]]
    receipts: dict[str, list[Receipt]]


@pytest.fixture(scope="module")
def published(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("published")
    config = configure(folder)
    headwater = Headwater(folder)
    found = Published({}, {}, {}, {}, {})
    sent: list[dict[str, Any]] = []
    for number, release in enumerate(corpus.releases, start=1):
        name = f"{number} {release.version}"
        lines = folder / "changes.jsonl"
        lines.write_text("".join(json.dumps(change) + "\n" for change in release.changes), encoding="utf-8")
        answer = headwater.document("publish", STREAM, lines.name)
        assert answer == {"appended": len(release.changes), "rejected": 0}
        sent += release.changes
        headwater.call("run", "--once")
        found.status[name] = headwater.document("status", "--json")["streams"][STREAM]
        if name in JUDGED:
            found.verified[name] = headwater.document("verify", STREAM, "--json", codes=(0, 5))
            export = headwater.call("export", STREAM, "--jsonl")
            found.judged[name] = judged(sent, export, folder)
            found.exported[name] = [json.loads(line) for line in export.splitlines()]
    ids = sorted({change["id"] for change in sent})
    found.receipts.update(asyncio.run(_receipts(config, ids)))
    return found


async def _receipts(config: Path, ids: list[str]) -> dict[str, list[Receipt]]:
    site = open_site(config, {})
    try:
        return await receipts_of(site, ids)
    finally:
        await site.close()


@pytest.mark.parametrize("name", JUDGED)
def test_the_index_is_what_was_published(published: Published, corpus: Corpus, name: str) -> None:
    assert published.judged[name] == ""
    verified = published.verified[name]
    assert verified["ok"], verified
    alive: set[str] = set()
    for release in corpus.releases[: int(name.split(maxsplit=1)[0])]:
        alive |= {change["id"] for change in release.changes}
        alive -= {change["id"] for change in release.changes if change["op"] == "delete"}
    assert verified["documents"] == len(alive)
    assert {line["id"] for line in published.exported[name]} == alive


def test_nothing_waits_and_nothing_died(published: Published) -> None:
    for status in published.status.values():
        assert status["lag"]["records"] == 0
        assert not any(status["dead_letters"].values())


def test_every_change_has_one_receipt(published: Published, corpus: Corpus) -> None:
    sent = Counter(change["id"] for change in corpus.changes)
    assert {id_: len(receipts) for id_, receipts in published.receipts.items()} == sent
    for id_, receipts in published.receipts.items():
        assert len({receipt.version for receipt in receipts}) == len(receipts), f"{id_} has a receipt twice"
        assert {receipt.outcome.value for receipt in receipts} <= ORDERLY
    outcomes = published.status[JUDGED[-1]]["outcomes"]
    assert sum(outcomes.values()) == sent.total()
    assert outcomes["deleted"] == sum(change["op"] == "delete" for change in corpus.changes)


def test_updates_embed_three_quarters_of_what_a_splitter_needs(published: Published, corpus: Corpus) -> None:
    texts = [status["embedding"]["texts"] for status in published.status.values()]
    tool = measuring()
    ours = {**tool.updates(corpus.changes, CHUNKING), "embedded": texts[-1] - texts[0]}
    baseline = tool.compared(corpus.changes, ours)
    print({"embedded": ours["embedded"], "load": texts[0], "mean": ours["mean"], "baseline": baseline})
    assert abs(baseline["mean"] / ours["mean"] - 1) < 0.03, "the baseline's chunks are not of our size"
    assert ours["embedded"] <= 0.75 * baseline["embedded"]


@pytest.mark.parametrize("name", JUDGED)
def test_chunks_are_of_the_size_that_was_asked_for(published: Published, name: str) -> None:
    sizes = [len(chunk["text"]) for line in published.exported[name] for chunk in line["chunks"]]
    within = sum(CHUNKING.least <= size <= CHUNKING.most for size in sizes)
    assert within >= 0.95 * len(sizes)
    assert max(sizes) <= CHUNKING.most
