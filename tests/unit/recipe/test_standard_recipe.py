"""The recipe as a whole: what it rejects, which context pieces get, the payload, the fingerprints."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import Reject
from headwater.model.document import Recipe
from headwater.recipe import extract as extraction
from headwater.recipe.enrich import MAX_CONTEXT, context
from headwater.recipe.options import Chunking, Format, PayloadField
from headwater.recipe.standard import StandardRecipe

from .documents import derive, recipe, upsert

SECRET = "confidential"


def made(
    payload: dict[str, PayloadField] | None = None, form: Format | None = None, model: str = "m"
) -> StandardRecipe:
    return StandardRecipe(3, Chunking(), payload or {}, form, model)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "no field `text`"),
        ({}, "no field `text`"),
        ({"Text": SECRET}, "no field `text`"),
        ({"text": None}, "null, expected a string"),
        ({"text": 1}, "a number, expected a string"),
        ({"text": True}, "a boolean, expected a string"),
        ({"text": [SECRET]}, "an array, expected a string"),
        ({"text": {"a": SECRET}}, "an object, expected a string"),
        ({"text": f"{SECRET} \ud800"}, "lone surrogate at character 13"),
        ({"text": "x" * (extraction.MAX_TEXT_BYTES + 1)}, "at most 33554432"),
        ({"text": "é" * (extraction.MAX_TEXT_BYTES // 2 + 1)}, "at most 33554432"),
    ],
)
def test_what_cannot_be_used_is_rejected_without_quoting_it(body: dict[str, Any] | None, reason: str) -> None:
    with pytest.raises(Reject) as caught:
        made().derive(upsert(body))
    assert reason in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("id_", "declared", "heading"),
    [
        ("a.md", None, True),
        ("A.MARKDOWN", None, True),
        ("a.txt", None, False),
        ("a", None, False),
        ("a.txt", "markdown", True),
        ("a.md", "text", False),
    ],
)
def test_the_format_is_declared_or_seen_from_the_id(id_: str, declared: Format | None, heading: bool) -> None:
    derived = made({"title": PayloadField("title")}, declared).derive(upsert({"text": "# Heading\n"}, id_))
    assert derived.payload == ({"title": "Heading"} if heading else {})


@pytest.mark.parametrize(
    ("id_", "said", "declared", "heading"),
    [
        ("a.pdf", "markdown", None, True),
        ("a.md", "text", None, False),
        ("a.pdf", "markdown", "text", False),
        ("a.md", "paperback", None, True),
        ("a.md", ["text"], None, True),
    ],
)
def test_a_body_says_its_format_where_none_is_declared(
    id_: str, said: object, declared: Format | None, heading: bool
) -> None:
    body = {"text": "# Heading\n", "format": said}
    derived = made({"title": PayloadField("title")}, declared).derive(upsert(body, id_))
    assert derived.payload == ({"title": "Heading"} if heading else {})


def test_pieces_stand_under_their_titles() -> None:
    body = "\n\n".join(["Some sentence of a certain length that fills it."] * 60)
    pieces = derive(f"Intro.\n\n{body}\n\n# One\n\n## Two\n\n{body}\n", "a.md")
    assert pieces[0].skip == 0, "what stands before the first heading does not stand under it"
    assert pieces[-1].text.startswith("One > Two\n\nSome")


def test_a_declared_title_leads_every_context() -> None:
    fields = {"title": PayloadField("meta.title")}
    derived = made(fields).derive(upsert({"text": "Plain.", "meta": {"title": "  The \n title "}}))
    assert derived.pieces[0].text == "The title\n\nPlain."
    assert derived.pieces[0].skip == 11


def test_context_is_bounded_and_cut_at_elements() -> None:
    assert context(None, ()) == ""
    assert context("T", ("T", "A")) == "T > A\n\n"
    long = context("T", tuple(letter * 60 for letter in "abcdef"))
    assert long.startswith("T > ")
    assert long.endswith("f\n\n")
    assert len(long) <= MAX_CONTEXT
    assert context("t" * 300, ()) == ""


def test_payload_follows_paths() -> None:
    fields = {
        "author": PayloadField("meta.author.name"),
        "tags": PayloadField("tags"),
        "dotted": PayloadField("a.b"),
        "missing": PayloadField("meta.nothing"),
        "through": PayloadField("tags.name"),
        "null": PayloadField("null"),
    }
    body = {"text": "", "meta": {"author": {"name": "Ada"}}, "tags": ["x", {"y": 1.5}], "a.b": True, "null": None}
    assert made(fields).derive(upsert(body)).payload == {
        "author": "Ada",
        "tags": ["x", {"y": 1.5}],
        "dotted": True,
        "null": None,
    }


def test_a_required_field_that_is_missing_rejects() -> None:
    with pytest.raises(Reject, match=r"`meta\.owner`, which the payload field `owner` requires"):
        made({"owner": PayloadField("meta.owner", required=True)}).derive(upsert({"text": SECRET}))


def test_title_falls_back_to_the_first_heading() -> None:
    fields = {"title": PayloadField("title", required=True)}
    assert made(fields).derive(upsert({"text": "Head\n====\n"})).payload == {"title": "Head"}
    assert made(fields).derive(upsert({"text": "Head\n====\n", "title": "T"})).payload == {"title": "T"}
    with pytest.raises(Reject, match="title"):
        made(fields).derive(upsert({"text": "no heading"}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", {1: 2}, "\udc00", [object()], {"\ud800": 1}])
def test_payload_is_json(value: object) -> None:
    with pytest.raises(Reject, match="payload field `x`"):
        made({"x": PayloadField("x")}).derive(upsert({"text": "", "x": value}))


def test_fingerprints_change_with_what_they_cover() -> None:
    def parts(one: StandardRecipe) -> tuple[str, str, str, str]:
        prints = one.fingerprints
        return prints.text, prints.chunk, prints.model, prints.payload

    base = parts(made())
    assert base == parts(StandardRecipe(9, Chunking(800, 200, 1200), {}, None, "m")), (
        "the number and defaults count not"
    )

    def changed(one: StandardRecipe) -> list[bool]:
        return [left != right for left, right in zip(base, parts(one), strict=True)]

    assert changed(made(model="n")) == [False, False, True, False]
    assert changed(made(form="markdown")) == [False, True, False, False]
    assert changed(StandardRecipe(1, Chunking(700), {}, None, "m")) == [False, True, False, False]
    assert changed(made({"a": PayloadField("a")})) == [False, False, False, True]
    assert changed(made({"title": PayloadField("t")})) == [False, True, False, True], "the title leads the context"
    redacted = StandardRecipe(1, Chunking(), {}, None, "m", redactor_name="1: card")
    assert changed(redacted) == [True, False, False, False]
    assert redacted.fingerprints != StandardRecipe(1, Chunking(), {}, None, "m", redactor_name="2: card").fingerprints
    filtered = StandardRecipe(1, Chunking(), {}, None, "m", predicate=lambda change: False, predicate_name="none")
    assert changed(filtered) == [True, False, False, False]
    assert not filtered.passes(upsert({"text": ""}))


def test_the_standard_recipe_is_a_recipe() -> None:
    standard: Recipe = recipe()
    assert standard.number == 1
    assert standard.passes(upsert({"text": ""}))
    assert "StandardRecipe(1" in repr(standard)
    with pytest.raises(ValueError, match="together"):
        StandardRecipe(1, Chunking(), {}, None, "m", predicate_name="x")
