"""What small edits cost: a word in a large document, a heading."""

from __future__ import annotations

import bisect
import os
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import pytest

from headwater.engine.plan import draft
from headwater.model.change import Change, Op, digest
from headwater.model.document import Derived
from headwater.model.manifest import Manifest
from headwater.model.version import Place, Version
from headwater.recipe.options import Chunking
from headwater.recipe.sections import headings
from headwater.recipe.standard import StandardRecipe
from tests.acceptance.corpus import Corpus, measuring
from tests.acceptance.site import Engine

pytestmark = pytest.mark.corpus

LENGTH = 5_000_000
EDITS = 1_000
THROUGH_THE_ENGINE = 20
HEADINGS = 10
#: So many edits are made in one version of the document, so far apart that every new chunk belongs to one of them.
AT_ONCE = 20
APART = 50_000

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Edit(NamedTuple):
    """`text[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


@pytest.fixture(scope="module")
def large(corpus: Corpus) -> str:
    text: str = measuring().large_document(corpus.changes, LENGTH)
    assert len(text) == LENGTH
    return text


def word_edits(text: str, count: int, dice: random.Random) -> list[Edit]:
    """Words outside headings, far apart, in order: replaced, followed by another one, or removed."""
    taken = [(one.start, one.end) for one in headings(text, "text", [])]
    word_at = measuring().WORD
    found: list[Edit] = []
    while len(found) < count:
        match = word_at.search(text, dice.randrange(len(text) - 100))
        if match is None or any(abs(edit.start - match.start()) < APART for edit in found):
            continue
        near = bisect.bisect_right(taken, (match.start(), len(text))) - 1
        if near >= 0 and match.start() < taken[near][1]:
            continue
        word = "".join(dice.choices(LETTERS, k=dice.randint(2, 12)))
        found.append(Edit(match.start(), match.end(), dice.choice([word, f"{match[0]} {word}", ""])))
    return sorted(found)


def edited(text: str, edits: list[Edit]) -> tuple[str, list[int]]:
    """The text with the edits made, and where each now stands."""
    parts, places, last, length = [], [], 0, 0
    for edit in edits:
        parts += [text[last : edit.start], edit.new]
        length += edit.start - last
        places.append(length)
        length += len(edit.new)
        last = edit.end
    return "".join([*parts, text[last:]]), places


def drafted(text: str, offset: int, stored: Manifest | None) -> tuple[Manifest, list[int]]:
    """What the engine would write: the manifest, and where the chunks stand that need embedding."""
    place = Place(0, offset)
    change = Change("large.txt", Op.UPSERT, Version(1, 0, 0, offset), place, {"text": text}, digest(text), 0, 0, 0)
    derived: Derived = StandardRecipe(1, Chunking(800), {}, None, "none").derive(change)
    planned = draft(change, stored, derived, 1, 0)
    return planned.manifest, [
        ref.start for ref in planned.manifest.chunks if (ref.digest, ref.occurrence) in planned.needs
    ]


def costs(text: str, seeds: range) -> list[int]:
    """How many chunks each edit costs, some edits at once a seed: a new chunk belongs to the nearest edit."""
    stored, _ = drafted(text, 0, None)
    spent: list[int] = []
    for seed in seeds:
        after, places = edited(text, word_edits(text, AT_ONCE, random.Random(seed)))
        _, starts = drafted(after, 1, stored)
        count = [0] * AT_ONCE
        for start in starts:
            away, nearest = min((abs(place - start), at) for at, place in enumerate(places))
            assert away < APART / 2, "a chunk far from every edit was embedded"
            count[nearest] += 1
        spent += count
    return spent


def test_a_word_in_a_large_document_costs_few_texts(large: str) -> None:
    workers = min(2, os.cpu_count() or 1)
    shares = [range(at, EDITS // AT_ONCE, workers) for at in range(workers)]
    with ProcessPoolExecutor(workers) as pool:
        spent = sorted(cost for some in pool.map(costs, repeat(large), shares) for cost in some)
    assert len(spent) == EDITS
    print({"mean": sum(spent) / EDITS, "p95": spent[int(0.95 * EDITS)], "max": spent[-1]})
    assert spent[int(0.95 * EDITS)] <= 3
    assert spent[-1] <= 6


def test_a_word_costs_few_texts_through_the_engine(large: str, tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    text = large
    engine.follow([{"id": "large.txt", "text": text}])
    receipt, manifest = engine.last("large.txt")
    assert receipt.counts.embedded + receipt.counts.reused >= len({ref.digest for ref in manifest.chunks})
    spent = []
    for edit in word_edits(large, THROUGH_THE_ENGINE, random.Random(7))[::-1]:  # from the end: places stay right
        text, _ = edited(text, [edit])
        engine.follow([{"id": "large.txt", "text": text}])
        receipt, manifest = engine.last("large.txt")
        assert receipt.body_digest == manifest.body_digest
        assert receipt.counts.kept + receipt.counts.reused + receipt.counts.embedded == receipt.counts.chunks
        spent.append(receipt.counts.embedded)
    spent.sort()
    print({"embedded": spent})
    assert len(engine.receipts(["large.txt"])["large.txt"]) == 1 + THROUGH_THE_ENGINE
    assert spent[int(0.95 * len(spent))] <= 3
    assert spent[-1] <= 6


class HeadingEdit(NamedTuple):
    """A document whose heading changes; what stands under that heading is `after[start:end]`."""

    id: str
    before: str
    after: str
    start: int
    end: int


def heading_edits(corpus: Corpus) -> Iterator[HeadingEdit]:
    """A changed word in one heading of each of some documents."""
    dice = random.Random(3)
    documents = sorted((id_, text) for id_, text in corpus.loaded.items() if 5_000 < len(text) < 60_000)
    for id_, text in dice.sample(documents, HEADINGS):
        found = headings(text, "text", [])
        at = dice.randrange(len(found))
        one = found[at]
        after = text[: one.start] + measuring().renamed(text[one.start : one.end], one.title, dice) + text[one.end :]
        end = next((later.start for later in found[at + 1 :] if later.level <= one.level), len(text))
        yield HeadingEdit(id_, text, after, one.start, end + len(after) - len(text))


def test_a_heading_costs_at_most_what_stands_under_it(corpus: Corpus, tmp_path: Path) -> None:
    edits = list(heading_edits(corpus))
    engine = Engine(tmp_path)
    engine.follow({"id": edit.id, "text": edit.before} for edit in edits)
    engine.follow({"id": edit.id, "text": edit.after} for edit in edits)
    for edit in edits:
        receipt, manifest = engine.last(edit.id)
        under = sum(ref.end > edit.start and ref.start < edit.end for ref in manifest.chunks)
        print({"id": edit.id, "embedded": receipt.counts.embedded, "under": under, "chunks": len(manifest.chunks)})
        assert 0 < receipt.counts.embedded <= under
