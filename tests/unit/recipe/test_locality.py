"""An edit costs the chunks that it touches: measured on generated documents, with and without headings in the way."""

from __future__ import annotations

import random
import re

import pytest

from headwater.recipe.sections import fences, headings

from .documents import derive, document

WORD = re.compile(r"[a-z]{3,}")


def new_texts(before: set[str], text: str, id_: str) -> int:
    return len({piece.text for piece in derive(text, id_)} - before)


@pytest.mark.parametrize("markdown", [True, False])
def test_a_word_costs_few_texts(markdown: bool) -> None:
    id_ = "a.md" if markdown else "a.txt"
    text = document(1, 300_000, markdown=markdown)
    rng = random.Random(2)
    before = {piece.text for piece in derive(text, id_)}
    held = headings(text, "markdown" if markdown else "text", [])
    costs: list[int] = []
    while len(costs) < 60:
        match = WORD.search(text, rng.randrange(len(text) - 100))
        if match is None or any(one.start <= match.start() < one.end for one in held):
            continue
        word = rng.choice(["", "changed", match[0] + " and more"])
        costs.append(new_texts(before, text[: match.start()] + word + text[match.end() :], id_))
    costs.sort()
    assert costs[57] <= 3
    assert costs[-1] <= 6


def test_a_word_in_one_huge_line_costs_few_texts() -> None:
    rng = random.Random(4)
    text = " ".join("".join(rng.choices("abcdef", k=rng.randint(2, 9))) for _ in range(40_000))
    before = {piece.text for piece in derive(text)}
    for place in (10, 70_000, 150_000):
        assert new_texts(before, text[:place] + " inserted " + text[place:], "a.txt") <= 6


def test_an_insertion_at_the_top_shifts_nothing() -> None:
    text = document(5, 100_000, markdown=True)
    title, rest = text.split("\n\n", 1)
    before = {piece.text for piece in derive(text, "a.md")}
    assert new_texts(before, f"{title}\n\nA new paragraph.\n\nAnd another one.\n\n{rest}", "a.md") <= 3


def test_a_removed_section_costs_at_most_its_neighbours() -> None:
    text = document(6, 100_000, markdown=True)
    found = headings(text, "markdown", [])
    before = {piece.text for piece in derive(text, "a.md")}
    for at in range(5, len(found) - 1, 9):
        level_2 = found[at].level == found[at + 1].level == 2
        if level_2:
            assert new_texts(before, text[: found[at].start] + text[found[at + 1].start :], "a.md") <= 5


@pytest.mark.parametrize("markdown", [True, False])
def test_a_heading_costs_at_most_what_stands_under_it(markdown: bool) -> None:
    id_ = "a.md" if markdown else "a.txt"
    rng = random.Random(7)
    for seed in range(4):
        text = document(seed, 25_000, markdown=markdown)
        before = {piece.text for piece in derive(text, id_)}
        found = headings(text, "markdown" if markdown else "text", fences(text, "markdown"))
        for at in rng.sample(range(len(found)), 12):
            heading = found[at]
            edited = text[: heading.start] + text[heading.start : heading.end].replace(heading.title, "Renamed one", 1)
            edited += text[heading.end :]
            end = next((one.start for one in found[at + 1 :] if one.level <= heading.level), len(text))
            end += len(edited) - len(text)
            pieces = derive(edited, id_)
            under = sum(piece.end > heading.start and piece.start < end for piece in pieces)
            assert len({piece.text for piece in pieces} - before) <= under
