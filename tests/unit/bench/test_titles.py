"""The labelled set: sections as documentation writes them, passages without titles, the same set each time."""

from __future__ import annotations

from bench.titles import LEAST, MOST, Passage, passages, plain, questions, sections

DOCUMENT = """\
.. _the-label:

==========
Some title
==========

What stands under it.

* A list
  -----
.. _how-to-cut:

How to ``cut``
--------------



Its text.

====  ====
One   Two
====  ====

Another
~~~
Too short a rule.

-----
-----

=========
The *end*
=========

"""


def test_a_section_is_a_title_over_a_rule_and_its_own_text() -> None:
    assert list(sections(DOCUMENT)) == [
        ("Some title", "What stands under it.\n\n* A list\n  ---"),
        ("How to cut", "Its text.\n\n===  ===\nOne   Two\n===  ===\n\nAnother\n~~~\nToo short a rule.\n\n---\n---"),
        ("The *end*", ""),
    ]


def test_text_without_a_title_has_no_sections() -> None:
    assert list(sections("")) == []
    assert list(sections("one\n\ntwo")) == []


def test_a_title_is_asked_for_without_its_markup() -> None:
    assert plain(":class:`~django.db.Q` objects") == "django.db.Q objects"
    assert plain("See :doc:`the guide </topics/db>`, ``a`` and ``QuerySet``\\s") == "See the guide, a and QuerySets"


def document(*sections: tuple[str, str]) -> str:
    return "".join(f"{title}\n{'=' * len(title)}\n\n{text}\n\n" for title, text in sections)


def test_passages_are_neither_short_nor_long() -> None:
    short, long = ("Short", "x" * (LEAST - 1)), ("Long", "word " * MOST)
    texts = {"a": document(short, ("Fits", "y" * LEAST)), "b": document(long, ("Fits", "y" * LEAST))}
    assert passages(texts, 10) == [Passage("p0000", "Fits", "y" * LEAST)]


def test_passages_are_chosen_without_regard_to_where_they_stand() -> None:
    texts = {name: document(("In all", "y" * LEAST), (f"In {name}", "z" * LEAST)) for name in "abcdefgh"}
    found = passages(texts, 20)
    assert [it.id for it in found] == [f"p{number:04}" for number in range(9)]
    titles = [it.title for it in found if it.title != "In all"]
    assert titles != sorted(titles)
    assert passages(dict(reversed(texts.items())), 20) == found
    assert passages(texts, 3) == found[:3]


def test_a_title_asks_if_it_is_nobody_elses_and_of_two_words() -> None:
    known = [Passage(f"p{number}", title, "") for number, title in enumerate(["One word", "Bugs", "A b", "a B", "C d"])]
    assert [it.title for it in questions(known, 9)] == ["One word", "C d"]
    assert [it.title for it in questions(known, 1)] == ["One word"]
