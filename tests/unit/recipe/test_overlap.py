"""Overlap: what goes before a chunk, and that an edit stays where it is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.model.document import Piece
from headwater.recipe.options import Chunking
from headwater.recipe.sections import fences, headings

from .documents import document, recipe, sentence, upsert
from .test_chunks import IDS, TEXTS


def derive(text: str, id_: str, chunking: Chunking) -> tuple[Piece, ...]:
    return recipe(chunking).derive(upsert({"text": text}, id_)).pieces


def shared(piece: Piece) -> str:
    return piece.text[piece.skip - piece.overlap : piece.skip]


@given(TEXTS, IDS, st.sampled_from([16, 40, 120]))
@settings(max_examples=300, deadline=None)
def test_an_overlap_is_the_text_right_before_and_changes_no_chunk(text: str, id_: str, size: int) -> None:
    with_, without = derive(text, id_, Chunking(size, overlap=size // 2)), derive(text, id_, Chunking(size))
    assert [(it.start, it.end) for it in with_] == [(it.start, it.end) for it in without]
    for piece in with_:
        assert shared(piece) == text[piece.start - piece.overlap : piece.start]
        assert piece.text[piece.skip :] == text[piece.start : piece.end]
        assert 0 <= piece.overlap <= size // 2
        assert not piece.overlap or shared(piece).strip()
        assert len(piece.text) <= recipe(Chunking(size, overlap=size // 2)).longest


def test_an_overlap_begins_with_a_sentence_or_a_word() -> None:
    rng = random.Random(3)
    text = " ".join(sentence(rng) for _ in range(400))
    pieces = derive(text, "a.txt", Chunking(400, overlap=150))
    assert sum(bool(it.overlap) for it in pieces) >= 0.9 * (len(pieces) - 1)
    for piece in pieces[1:]:
        assert not piece.overlap or shared(piece)[0].isupper()
    words = derive("lorem ipsum dolor sit " * 200, "a.txt", Chunking(400, overlap=50))
    assert all(shared(it).startswith(("lorem", "ipsum", "dolor", "sit")) for it in words[1:])


def test_an_overlap_never_reaches_over_a_heading() -> None:
    text = document(8, 60_000, markdown=True)
    found = headings(text, "markdown", fences(text, "markdown"))
    reaching = 0
    for piece in derive(text, "a.md", Chunking(400, overlap=200)):
        begin = piece.start - piece.overlap
        assert not any(begin < it.end and it.start < piece.start for it in found)
        assert not piece.overlap or all(it.start != piece.start for it in found), "nothing goes before a heading"
        reaching += bool(piece.overlap)
    assert reaching > 20


@pytest.mark.parametrize("markdown", [True, False])
def test_an_edited_sentence_costs_at_most_two_texts_more(markdown: bool) -> None:
    id_ = "a.md" if markdown else "a.txt"
    text = document(1, 300_000, markdown=markdown)
    rng = random.Random(2)
    plain, overlapping = Chunking(), Chunking(overlap=120)
    before = {it.text for it in derive(text, id_, plain)}, {it.text for it in derive(text, id_, overlapping)}
    costs: list[int] = []
    while len(costs) < 60:
        at = text.find(". ", rng.randrange(len(text) - 1000))
        end = text.find(". ", at + 2)
        if at < 0 or not 10 < end - at < 200:
            continue
        edited = text[: at + 2] + sentence(rng) + text[end + 1 :]
        without = len({it.text for it in derive(edited, id_, plain)} - before[0])
        costs.append(len({it.text for it in derive(edited, id_, overlapping)} - before[1]) - without)
    assert max(costs) <= 2
    assert sum(costs) / len(costs) <= 0.6


def test_nothing_goes_before_a_label_that_leads_a_heading() -> None:
    body = "\n\n".join(f"Some sentence number {at} of a certain length." for at in range(11))
    text = "\n\n".join([f".. _label-{at}:\n\nTitle {at}\n=======\n\n{body}" for at in range(6)])
    pieces = derive(text, "a.txt", Chunking(300, overlap=100))
    leading = [it for it in pieces if text.startswith(".. _label", it.start)]
    assert len(leading) == 6
    assert all(it.overlap == 0 for it in leading)
    assert any(it.overlap for it in pieces)


def test_without_an_overlap_the_fingerprint_is_what_it_was() -> None:
    assert recipe(Chunking(overlap=0)).fingerprints == recipe(Chunking()).fingerprints
    assert recipe(Chunking(overlap=50)).fingerprints.chunk != recipe(Chunking()).fingerprints.chunk
    with pytest.raises(ValueError, match="half of the size"):
        Chunking(100, overlap=51)
