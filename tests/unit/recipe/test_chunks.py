"""What holds for the chunks of any text: coverage, order, exact offsets, sizes, determinism."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.recipe.options import Chunking

from .documents import derive, document

FRAGMENTS = [
    *["word", "End. ", " ", "\n", "\n\n", "# Title\n", "Title\n=====\n", "\n---\n", "```\n", "~~~~\n", "- a ", "* b\n"],
    *[
        ".. _label:\n\n",
        "    code\n",
        "\t",
        "\r\n",
        "\x00",
        "\u0301",
        "👨‍👩‍👧",
        "שלום עולם",
        "漢字。",
        "\u3000",
        "\u2028",
        "x" * 60,
    ],
]
TEXTS = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(FRAGMENTS), max_size=120).map("".join))
SIZES = st.sampled_from([16, 40, 120, 800])
IDS = st.sampled_from(["a.md", "a.txt"])


@given(TEXTS, IDS, SIZES)
@settings(max_examples=400, deadline=None)
def test_any_text_is_covered_in_order_and_within_the_maximum(text: str, id_: str, size: int) -> None:
    pieces = derive(text, id_, Chunking(size))
    assert pieces == derive(text, id_, Chunking(size))


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=25, deadline=None)
def test_most_chunks_of_a_document_are_between_minimum_and_maximum(seed: int, markdown: bool) -> None:
    chunking = Chunking()
    pieces = derive(document(seed, 30_000, markdown=markdown), "a.md" if markdown else "a.txt")
    short = sum(piece.end - piece.start < chunking.least for piece in pieces)
    assert short <= max(1, 0.05 * len(pieces)), "one of fewer than 20 is more than 5 %"


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", "\t \r\n", "\u3000\u2028\n\n\u00a0", " \n" * 10_000])
def test_white_space_has_no_pieces(text: str) -> None:
    assert derive(text) == derive(text, "a.md") == ()


@pytest.mark.parametrize(
    "text", ["x", "\x00", "no newline at all", "  indented", "Title\n=====", "# Title", "🙂", "e\u0301"]
)
@pytest.mark.parametrize("id_", ["a.md", "a.txt"])
def test_a_short_text_is_one_piece(text: str, id_: str) -> None:
    assert [text[piece.start : piece.end].strip() for piece in derive(text, id_)] == [text.strip()]


LONG = {
    "one unbreakable word": "x" * 10_000_000,
    "words without a sentence": "lorem ipsum dolor sit " * 450_000,
    "sentences": "Lorem ipsum dolor. " * 520_000,
    "ideographs": "漢字仮名交文" * 500_000,
    "emoji": "👨‍👩‍👧" * 200_000,
    "combining marks": "e" + "\u0301" * 500_000,
    "lines": "abc,def\n" * 200_000,
    "white space": " " * 10_000_000 + "x",
    "hash signs": "#" * 5_000_000,
}


@pytest.mark.parametrize("name", LONG)
def test_a_huge_line_is_cut(name: str) -> None:
    text = LONG[name]
    pieces = derive(text)
    assert len(pieces) >= len(text.strip()) / 1200


def test_headings_alone_are_joined() -> None:
    markdown = "".join(f"## Heading {number}\n" for number in range(200))
    underlined = "".join(f"Heading {number}\n-----------\n\n" for number in range(200))
    assert len(derive(markdown, "a.md")) < 60
    assert len(derive(underlined)) < 60


def test_line_ends_of_windows_make_the_same_chunks() -> None:
    text = document(3, 20_000, markdown=True)
    unix = [piece.text.split() for piece in derive(text, "a.md", Chunking(800, maximum=1400))]
    windows = derive(text.replace("\n", "\r\n"), "a.md", Chunking(800, maximum=1400))
    same = sum(piece.text.split() in unix for piece in windows)
    assert same > 0.8 * len(unix)


def test_short_sections_are_joined_and_a_section_keeps_together() -> None:
    short = "\n\n".join(f"## Part {number}\n\nOne line." for number in range(6))
    assert len(derive(short, "a.md")) == 1
    body = "\n\n".join(["A sentence of some length, to fill the section up."] * 14)
    pieces = derive(f"# A\n\n{body}\n\n# B\n\n{body}\n", "a.md")
    assert [piece.text[piece.skip :][:3] for piece in pieces] == ["# A", "# B"]


def test_prose_is_cut_between_sentences() -> None:
    text = "A sentence that says something about nothing at all. " * 100
    assert all(piece.text.endswith(".") and piece.text.startswith("A ") for piece in derive(text))


def test_no_cut_between_a_character_and_its_mark() -> None:
    text = "e\u0301" * 20_000
    assert all(not piece.text.startswith("\u0301") for piece in derive(text))


@pytest.mark.parametrize("bad", [{"size": 8}, {"size": 100, "minimum": 200}, {"size": 100, "maximum": 90}])
def test_sizes_that_make_no_sense_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="chunk"):
        Chunking(**bad)


def test_a_maximum_below_twice_the_minimum_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Chunking(100, minimum=80, maximum=120)
