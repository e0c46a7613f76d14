"""Headings and sections in Markdown and in underlined plain text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.recipe.options import Format
from headwater.recipe.sections import fences, headings, sections


def found(text: str, form: Format = "markdown") -> list[tuple[int, str]]:
    return [(one.level, one.title) for one in headings(text, form, fences(text, form))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\n\n## B ##\ntext\n### C", [(1, "A"), (2, "B"), (3, "C")]),
        ("   # A\n    # code", [(1, "A")]),
        ("#no heading\n\n####### seven", []),
        ("# C#\n#\n", [(1, "C#"), (1, "")]),
        ("A\n===\n\nB b\n---\ntext", [(1, "A"), (2, "B b")]),
        ("two lines\nof text\n---\n", []),
        ("- item\n---\n\n> quote\n===\n", []),
        ("---\ntitle: x\n---\n\n# A", [(1, "A")]),
        ("```python\n# comment\nA\n===\n```\n# A", [(1, "A")]),
        ("~~~~\n# x\n~~~\n# y\n~~~~~\n# A", [(1, "A")]),
        ("````\n```\n# x\n````\n# A", [(1, "A")]),
        ("# A\n```\n# never closed", [(1, "A")]),
        ("``` a`b\n# A", [(1, "A")]),
        ("# A\r\n\r\nB\r\n---\r\n", [(1, "A"), (2, "B")]),
        ("", []),
    ],
)
def test_markdown(text: str, expected: list[tuple[int, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A\n===\n\nB\n---\n\nC\n===\n", [(1, "A"), (2, "B"), (1, "C")]),
        ("=====\nTitle\n=====\n\nA\n===\n\nB\n~~~\n", [(1, "Title"), (2, "A"), (3, "B")]),
        ("======\n Inset\n======\n", [(1, "Inset")]),
        ("A long title\n===\n\nAnother title\n==\n", [(1, "A long title")]),
        ("two lines\nof text\n----------\n", []),
        ("    indented\n    --------\n", []),
        ("text\n\n----\n\ntext", []),
        (">>> code\n...\n", []),
        ("A command:\n```\nls\n```\n", []),
        ("A\n===\nB\n===\n", [(1, "A"), (1, "B")]),
        ("===  ===\na    b\n===  ===\n", []),
        ("# A\n\ntext", []),
        ("A\r\n===\r\n\r\ntext", [(1, "A")]),
        ("===\n===\n===", []),
    ],
)
def test_underlined(text: str, expected: list[tuple[int, str]]) -> None:
    assert found(text, "text") == expected


def test_sections_have_paths_and_cover_the_text() -> None:
    text = "before\n\n# A\n\n## B\n\nb\n\n#### C\n\n## D\n"
    cut = sections(text, "markdown")
    assert [one.path for one in cut] == [(), ("A",), ("A", "B"), ("A", "B", "C"), ("A", "D")]
    assert "".join(text[one.start : one.end] for one in cut) == text


@given(
    st.lists(st.sampled_from(["#", " a", "=", "-", "\n", "===", "```", "\r\n", "b", "\t"]), max_size=60).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_headings_are_in_order_and_apart(text: str) -> None:
    for form in ("markdown", "text"):
        at = 0
        for one in headings(text, "markdown" if form == "markdown" else "text", []):
            assert at <= one.start < one.end <= len(text)
            assert one.level >= 1
            at = one.end
