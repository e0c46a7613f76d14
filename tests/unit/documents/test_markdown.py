"""Marked-up text becomes Markdown, and no word of it is lost."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.documents.port import Extracted

if not os.environ.get("CI"):
    pytest.importorskip("lxml.html")

from headwater.documents import webpage
from headwater.documents.markdown import table_lines

WORDS = st.text("abcxyz", min_size=1, max_size=5)
TAGS = st.sampled_from(
    re.findall(
        r"\w+",
        "p div h1 h3 ul ol li b em a code pre blockquote table tr td th dl dt dd section aside details span font",
    )
)


def nodes(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda tag, parts: f"<{tag}>{' '.join(parts)}</{tag}>", TAGS, st.lists(inner, min_size=1, max_size=4)
    )


PAGES = st.lists(st.recursive(WORDS, nodes, max_leaves=25), min_size=1, max_size=5).map(" ".join)


def read(page: str) -> Extracted:
    return webpage.of_markup(f"<!doctype html><body>{page}</body>")


@settings(max_examples=400, derandomize=True)
@given(PAGES)
def test_every_word_stays_once_and_in_its_order(page: str) -> None:
    def words(text: str) -> list[str]:
        return re.findall("[abcxyz]+", text)

    assert words(read(page).text) == words(re.sub("<[^>]*>", " ", page))


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>a<p>b", "a\n\nb\n"),
        ("a <b>b</b>c<br>d", "a bc\nd\n"),
        ("<h2>a\n b</h2>c", "## a b\n\nc\n"),
        ("<ul><li>a</li><li>b<ol><li>c</li></ol></li></ul>", "- a\n- b\n  1. c\n"),
        ("<ul><li><p>a</p><p>b</p><pre>c</pre></li></ul>", "- a\n\n  b\n\n  ```\n  c\n  ```\n"),
        ("<blockquote>a<blockquote>b</blockquote></blockquote>", "> a\n\n> > b\n"),
        ("<pre>a\n```\n  b</pre>", "````\na\n```\n  b\n````\n"),
        ("<p># a</p><p>```</p>", "\\# a\n\n\\```\n"),
        ("<p>use <code>x  y</code></p>", "use `x y`\n"),
        ("<table><tr><td>a<td>b<tr><td><p>c</p><p>d</p></table>", "| a | b |\n| --- | --- |\n| c d |\n"),
        ("<table><tr><td><table><tr><td>a<td>b</table>c</table>", "| a b c |\n| --- |\n"),
        ("<table><table>a</table></table>", "a\n"),
        ("<table><caption>a</caption><tr><td>b</table>", "a\n\n| b |\n| --- |\n"),
        ("<img alt='a pump'><svg><text>x</text></svg><select><option>y</select>", "a pump\n"),
        ("<nav>x</nav><script>y</script><style>z</style><p hidden>w</p>", ""),
        ("<main>a</main><footer>x</footer>", "a\n"),
        ("<main>a</main><main>b</main>", "a\n\nb\n"),
        ("<main> </main>a", "a\n"),
        ("<textarea>x</textarea>a<!-- c -->b<?pi d?>", "ab\n"),
    ],
)
def test_structure(page: str, text: str) -> None:
    assert read(page).text == text


def test_a_picture_has_a_title_of_its_own() -> None:
    assert read("<body><svg><title>a drop</title></svg><p>x").title is None
    assert read("<title>Pumps</title><svg><title>a drop</title></svg>").title == "Pumps"


def test_deep_lists_and_quotes_stay_small() -> None:
    text = read("<ul><li>x" * 300 + "<blockquote>y" * 300).text
    assert text.count("x") == text.count("y") == 300
    assert len(text) < 30_000


def test_the_head_of_a_table_is_as_long_as_its_longest_row() -> None:
    assert table_lines([["a"], ["b|c", "d"], ["e"]]) == ["| a |  |", "| --- | --- |", "| b\\|c | d |", "| e |"]
    assert table_lines([]) == []


def test_columns_without_text_are_left_out() -> None:
    assert table_lines([["a", "", "", "b"], ["c"]]) == ["| a | b |", "| --- | --- |", "| c |"]
