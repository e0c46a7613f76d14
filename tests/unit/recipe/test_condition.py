"""Conditions: what an expression may say, how JSON's values behave in it, and that none runs long."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Reject
from headwater.recipe.condition import MAX_CHARACTERS, Condition

VARIABLES = ("body", "id")


def condition(text: str) -> Condition:
    return Condition.parse(text, VARIABLES)


def holds(text: str, value: object) -> bool:
    return condition(text).holds({"body": {"x": value}, "id": "a"})


def complaint(text: str) -> str:
    with pytest.raises(Reject) as raised:
        condition(text)
    return raised.value.reason


def refusal(text: str, body: dict[str, Any]) -> str:
    with pytest.raises(Reject) as raised:
        condition(text).holds({"body": body, "id": "a"})
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__, (
        "the library's error quotes what it was given"
    )
    return raised.value.reason


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("body.x == 5", 5, True),
        ("body.x == 5.0", 5, True),
        ("body.x > 4", 4.5, True),
        ("body.x == '5'", 5, False),
        ("body.x == 1", True, False),
        ("body.x == true", True, True),
        ("body.x == null", None, True),
        ("body.x == 0", None, False),
        ("has(body.x)", None, True),
        ("has(body.y)", 1, False),
        ("body.x == 9223372036854775807", 2**63, False),
        ("body.x > 9223372036854775807", 2**63, True),
        ("body.x == 9223372036854775807", 2**63 - 1, True),
        ("body.x == 9223372036854775806", 2**63 - 1, False),
        ("body.x == 1180591620717411303424.0", 2**70, True),
        ("body.x < 0", -(2**70), True),
        ("body.x == b'a'", b"a", True),
        ("body.x == 'a'", b"a", False),
        ("body.x.y.z == 'deep'", {"y": {"z": "deep"}}, True),
        ("'y' in body.x", {"y": 1}, True),
        ("'b' in body.x", ["a", "b"], True),
        ("body.x.exists(it, it > 1)", [1, 2], True),
        ("body.x.all(it, it > 1)", [1, 2], False),
        ("body.x.filter(it, it > 1).size() == 1", [1, 2], True),
        ("size(body.x) == 2", "é", True),
        ("body.x.matches('^[a-z]{2,8}$')", "abc", True),
        ("body.x.startsWith('a') && !body.x.contains('z')", "abc", True),
        ("timestamp(body.x).getFullYear() == 2024", "2024-05-06T07:08:09Z", True),
        ("id == 'a' || body.missing == 1", 0, True),
        ("type(body.x) == int ? true : false", 1, True),
    ],
)
def test_how_the_values_of_json_behave(text: str, value: object, expected: bool) -> None:
    assert holds(text, value) is expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "line 1, column 1: Syntax error"),
        ("body.", "line 1, column 6: Syntax error"),
        ("body.x ==\n  )", "line 2, column 3: Syntax error"),
        ("body.x == 1 &&\n  bodi.x == 2", "line 2, column 3: unknown variable `bodi`, there is `body`, `id`"),
        ("'bodi' == bodi", "line 1, column 11: unknown variable `bodi`"),
        ("body.x.lower() == 'a'", "line 1, column 8: unknown function `lower`"),
        ("now() > body.x", "line 1, column 1: unknown function `now`"),
        ("(" * 120 + "true" + ")" * 120, "nested too deeply"),
        ("true" + " || true" * 300, f"at most {MAX_CHARACTERS}"),
    ],
)
def test_what_is_no_condition(text: str, part: str) -> None:
    assert part in complaint(text)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("body.x.all(a, body.x.all(b, a == b))", "column 21: `all` inside of another macro"),
        ("body.x.exists(a, a > 1 && body.y . filter (b, b > a).size() > 1)", "`filter` inside"),
        ("body.x.map(a, a + a).size() == 1", "column 7: `map`"),
        ("r'\\' == body.x || body.x.map(a, a) == ['b']", "`map`"),
        ("body.x.matches(body.y)", "must be written out"),
        ("body.x.matches('a' + body.y)", "must be written out"),
        ("body.x.matches('[')", "no regular expression"),
        ("body.x.matches('.{0,500}c')", "counts too high"),
        ("body.x.matches('(.{0,50}){50}c')", "counts too high"),
        ("body.x.matches('.{0,50}{50}c')", "counts too high"),
        ("body.x.matches('.\\u007b0,500}c')", "counts too high"),
    ],
)
def test_what_could_run_long_is_no_condition(text: str, part: str) -> None:
    assert part in complaint(text)


def test_what_only_looks_as_if_it_ran_long() -> None:
    assert holds("body.x == '.map(a, a)' // .map(", ".map(a, a)")
    assert holds("body.x.exists(a, a == 1) && body.x.all(b, b > 0)", [1])
    assert condition("body.map == 1").holds({"body": {"map": 1}, "id": ""})


def test_a_macro_looks_at_no_more_than_it_can_in_a_second() -> None:
    assert refusal("body.x.all(a, a in body.x)", {"x": list(range(20_000))}).startswith("the lists and texts")
    assert refusal("body.x.all(a, body.t.contains(a))", {"x": ["b"] * 5000, "t": "b" * 2**20})
    assert refusal("body.x.all(a, body.t.matches('b'))", {"x": ["b"] * 100, "t": "b" * 2**20})
    assert condition("body.x.all(a, a >= 0)").holds({"body": {"x": list(range(1000)), "t": "b" * 2**20}, "id": ""})
    assert condition("20000 in body.x").holds({"body": {"x": list(range(20_001))}, "id": ""})


@pytest.mark.parametrize(
    ("text", "body", "part"),
    [
        ("body.x == 1", {}, "needs the field `x`"),
        ("body.x.y == 1", {"x": {}}, "needs the field `y`"),
        ("body[body.x] == 1", {"x": "secret"}, "a field that the condition needs is missing"),
        ("body.x[5] == 1", {"x": [1]}, "shorter"),
        ("body.x > 1", {"x": "secret"}, "another type"),
        ("body.x > 1", {"x": None}, "another type"),
        ("body.x + 1 > 1", {"x": 1.5}, "another type"),
        ("body.x > 1", {"x": float("nan")}, "another type"),
        ("body.x.y == 1", {"x": "secret"}, "another type"),
        ("body.x / 0 == 1", {"x": 1}, "arithmetic"),
        ("body.x + 1 > 1", {"x": 2**63 - 1}, "arithmetic"),
        ("int(body.x) == 1", {"x": "secret"}, "converted"),
        ("duration(body.x) > duration('1s')", {"x": "secret"}, "converted"),
        ("body.x", {"x": "secret"}, "neither true nor false"),
        ("body.x.exists(a, a == 1) && a == 1", {"x": [1]}, "outside of the macro"),
    ],
)
def test_what_cannot_be_evaluated_says_why_and_quotes_nothing(text: str, body: dict[str, Any], part: str) -> None:
    reason = refusal(text, body)
    assert part in reason
    assert "secret" not in reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
EXPRESSIONS = [
    "body.x > 1 && body.y.z.matches('a+b')",
    "body.x.exists(a, a.startsWith('b') || a > 3) != (body.y in body.x)",
    "size(body.x) - int(body.y) < 3 || body[id] == body.z",
    "timestamp(body.x) + duration(body.y) > timestamp('2020-01-01T00:00:00Z')",
    "double(body.x) / body.y == -body.z % 3",
]


@settings(deadline=None)
@given(st.sampled_from(EXPRESSIONS), st.dictionaries(st.sampled_from("xyz"), JSON), st.sampled_from("xyz"))
def test_no_input_makes_a_condition_fail_otherwise(text: str, body: dict[str, Any], document: str) -> None:
    with contextlib.suppress(Reject):
        assert condition(text).holds({"body": body, "id": document}) in (True, False)


def test_the_name_tells_expressions_apart_and_whose_reading_it_is() -> None:
    assert condition("body.x == 1").name != condition("body.x == 2").name
    assert condition("true").name.startswith("common-expression-language ")
    assert condition("id == 'a'").variables == {"id"}
    assert condition("body.x.exists(body, body == 1)").holds({"body": {"x": [1]}, "id": ""})


TOKENS = ["body", "id", ".", "x", "(", ")", "[", "]", "{", "}", "?", ":", "&&", "==", "+", "-", "!", "1", "2.5", "1u"]
TOKENS += [
    "'a'",
    '"',
    "'",
    "r'\\'",
    "b'a'",
    "//",
    "\n",
    " ",
    "exists",
    "filter",
    "map",
    "matches",
    "size",
    "in",
    "§0§",
    "é",
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=12).map("".join) | st.text(max_size=12))
def test_no_text_makes_parsing_fail_otherwise(text: str) -> None:
    with contextlib.suppress(Reject):
        assert condition(text).variables <= set(VARIABLES)
