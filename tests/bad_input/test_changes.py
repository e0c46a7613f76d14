"""One stream is given everything that a change can be wrong in, all at once, between good changes.

Each case says what becomes of it; that the good ones were not held up is said once.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.process import CONFIG, MARKER, WatchedCli, delete, upsert

LONGEST = "x" * 1024
LONGEST_WIDE = "é" * 512
NFC, NFD = "caf\u00e9", "cafe\u0301"


def raw(text: str) -> bytes:
    """A line as it is, with a marker in its text."""
    return text.replace("TEXT", MARKER).encode()


#: A line that is refused, and what is said about it.
REFUSED: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "not UTF-8": (raw('{"id": "refused 1", "text": "TEXT') + b'\xff\xfe"}', "not UTF-8"),
    "a lone high surrogate in the text": (raw(r'{"id": "refused 2", "text": "TEXT \ud800 x"}'), "lone surrogate"),
    "a lone low surrogate in the text": (raw(r'{"id": "refused 3", "text": "TEXT \udc00"}'), "lone surrogate"),
    "a lone surrogate in the id": (raw(r'{"id": "refused \udc00", "text": "TEXT"}'), "lone surrogate"),
    "an id of 1 KiB and a byte": (upsert("y" * 1025, "too long"), "1025 bytes, at most 1024"),
    "an id of 1 KiB and two bytes, not ASCII": (upsert("é" * 513, "too long"), "1026 bytes, at most 1024"),
    "a number as the id": (raw('{"id": 1, "text": "TEXT"}'), "`id` is not a string"),
    "no id": (raw('{"text": "TEXT"}'), "`id` is missing"),
    "an empty id": (upsert("", "none"), "`id` is empty"),
    "a list": (raw('["TEXT"]'), "not a JSON object"),
    "no JSON": (raw("TEXT"), "not JSON"),
    "JSON that ends too early": (raw('{"id": "refused 4", "text": "TEXT'), "not JSON"),
    "JSON that is nested too deeply": (raw('{"id": "r5", "x": ' + "[" * 5000 + "]" * 5000 + "}"), "nested too deeply"),
    "two objects on a line": (raw('{"id": "refused 6", "text": "TEXT"} {}'), "not JSON"),
}
#: A change that is appended and cannot be applied, and the reason of its dead letter.
POISON: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "no required field": ({"id": "no kind", "text": MARKER}, "the body has no field `kind`"),
    "no text": ({"id": "no text", "kind": "k"}, "neither `body` nor `text` is given"),
    "text and body": ({"id": "both", "kind": "k", "text": MARKER, "body": MARKER}, "both `body` and `text` are given"),
    "a text that is a number": ({"id": "number", "kind": "k", "text": 7}, "`text` is not a string"),
    "an unknown op": ({"id": "op", "kind": "k", "text": MARKER, "op": MARKER}, "`op` is neither upsert nor delete"),
    "a time that is none": ({"id": "time", "kind": "k", "text": MARKER, "time": MARKER}, "`time` is not RFC 3339"),
}
#: Odd, and allowed: the id, and the text that is searched.
ODD: dict[str, tuple[str, str]] = {
    "NUL in the text": ("nul text", "before \0 after"),
    "NUL in the id": ("nul \0 id", "a document"),
    "a newline in the id": ("new\nline", "two lines"),
    "slashes in the id": ("a/../b//c", "slashes"),
    "an id that is not ASCII": ("日本語 🐟", "fish"),
    "an id of 1 KiB": (LONGEST, "long"),
    "an id of 1 KiB that is not ASCII": (LONGEST_WIDE, "wide"),
    "the string 1 as the id": ("1", "one"),
    "an id in NFC": (NFC, "composed"),
    "the same id in NFD": (NFD, "decomposed"),
}


@dataclass
class Site:
    """What the one run left."""

    cli: WatchedCli
    said: dict[int, str] = field(default_factory=dict)
    dead: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    published: list[dict[str, Any] | bytes] = field(default_factory=list)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as folder:
        made = Site(WatchedCli(Path(folder)))
        made.cli.write("headwater.yaml", CONFIG)
        for line, _ in (*REFUSED.values(), *POISON.values()):
            made.published += [line, upsert(f"good {len(made.published)}", "good")]
        made.published += [upsert(name, text) for name, text in ODD.values()]
        made.published += [
            {"id": "empty", "text": "", "kind": "k"},
            {"id": "white", "text": " \n\t\u2003 ", "kind": "k"},
            upsert("future", "later", time="2999-01-01T00:00:00Z"),
            delete("never"),
            upsert("twice", "first"),
            upsert("twice", "second"),
            *(upsert("twenty times", f"number {i}") for i in range(20)),
        ]
        refused = made.cli.publish(*made.published, code=1)
        made.said = {
            int(head.removeprefix("line ")): reason
            for head, _, reason in (line.partition(": ") for line in refused.stderr.splitlines())
        }
        counts = {"appended": len(made.published) - len(REFUSED), "rejected": len(REFUSED)}
        assert json.loads(refused.stdout) == counts
        made.cli("run", "--once", "--verbose")
        made.dead, made.texts = made.cli.dead(), made.cli.texts()
        yield made
        made.cli.check_silence()


@pytest.mark.parametrize("case", REFUSED)
def test_a_line_is_refused_with_its_number(site: Site, case: str) -> None:
    line, reason = REFUSED[case]
    assert reason in site.said[site.published.index(line) + 1]


def test_no_other_line_is_refused(site: Site) -> None:
    assert len(site.said) == len(REFUSED)
    assert not [name for name in site.texts if name.startswith(("refused", "r5"))]


@pytest.mark.parametrize("case", POISON)
def test_a_poison_change_becomes_a_dead_letter(site: Site, case: str) -> None:
    line, reason = POISON[case]
    assert isinstance(line, dict)
    assert reason in site.dead[line["id"]]
    assert line["id"] not in site.texts
    assert site.cli.outcomes(line["id"]) == ["dead"]


def test_nothing_else_is_dead(site: Site) -> None:
    assert len(site.dead) == len(POISON)


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_is_a_document_like_others(site: Site, case: str) -> None:
    name, text = ODD[case]
    assert site.texts[name] == f"{text} {MARKER}"


def test_the_good_ones_are_all_there(site: Site) -> None:
    good = [name for name in site.texts if name.startswith("good")]
    assert len(good) == len(REFUSED) + len(POISON)
    assert site.cli.status()["lag"]["records"] == 0
    assert site.cli.json("verify", "notes", "--json")["ok"]


@pytest.mark.parametrize("name", ["empty", "white"])
def test_a_document_without_words_is_there_and_has_no_chunks(site: Site, name: str) -> None:
    assert site.texts[name] == ""
    assert site.cli.outcomes(name) == ["indexed"]


def test_a_time_in_the_future_counts_as_skewed_and_fresh(site: Site) -> None:
    fresh = site.cli.status()["freshness"]
    assert fresh["skewed"] == 1
    assert fresh["p50_s"] >= 0
    assert site.cli.outcomes("future") == ["indexed"]


def test_of_one_id_twice_and_twenty_times_the_last_one_counts(site: Site) -> None:
    assert site.texts["twice"] == f"second {MARKER}"
    assert site.texts["twenty times"] == f"number 19 {MARKER}"
    assert sorted(site.cli.outcomes("twice")) == ["indexed", "superseded"]
    assert sorted(site.cli.outcomes("twenty times")) == ["indexed"] + ["superseded"] * 19


def test_a_delete_of_what_never_was_leaves_a_receipt_and_a_fence(site: Site) -> None:
    assert site.cli.outcomes("never") == ["deleted"]
    fence = site.cli.documents()["never"]
    assert fence["deleted"]
    assert fence["chunks"] == []


def test_an_odd_document_is_found_and_deleted(site: Site) -> None:
    for name in ("new\nline", "日本語 🐟", LONGEST, NFD):
        site.cli.publish(delete(name))
    site.cli("run", "--once")
    texts = site.cli.texts()
    assert not {"new\nline", "日本語 🐟", LONGEST, NFD} & texts.keys()
    assert {NFC, LONGEST_WIDE} <= texts.keys(), "a look-alike went with it"
