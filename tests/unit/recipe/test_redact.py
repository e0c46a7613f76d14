"""Redaction: how well on the labelled set, that it is exact about places, and that no text takes long."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.clock import SystemClock, SystemIds
from headwater.errors import Reject
from headwater.log.codecs.json import decode, delete, parse, render_time, unreadable, upsert
from headwater.log.codecs.oversized import UNMET_HEADER, decoding
from headwater.log.codecs.records import UNREADABLE_HEADER
from headwater.log.memory import MemoryLog
from headwater.log.redaction import REFUSED, RedactingWriter, redacted, redacting
from headwater.model.change import Change, Op, Outgoing, Record, Undecodable, digest_value
from headwater.model.registry import ANY_EPOCH
from headwater.recipe.options import REDACTABLE
from headwater.recipe.redact.redactor import Finding, Redactor

from .redaction_score import PAGE, page
from .redaction_set import NEGATIVES, POSITIVES, Labelled

ALL = Redactor(REDACTABLE)
CARD = "4539 1488 0343 6467"
MAIL = "zelda@example.org"


def test_the_set_is_large_and_the_docs_say_how_well_it_goes() -> None:
    assert sum(len(it.spans) for it in POSITIVES) >= 300
    assert len(NEGATIVES) >= 300
    assert {it.kind for it in POSITIVES} == {it.kind for it in NEGATIVES} == set(REDACTABLE)
    assert PAGE.read_text() == page(PAGE.read_text()), "run `python -m tests.unit.recipe.redaction_score`"


FRAGMENTS = st.sampled_from(
    [it.text for it in POSITIVES]
    + [
        "[email]",
        "[key]",
        "tel ",
        "password: ",
        " ",
        "\n",
        "-",
        ".",
        "4111 ",
        "\u200b",
        "0",
        "İ",
        "\udc80",
        "@",
        ":",
        "::",
        "[",
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(FRAGMENTS, max_size=8).map("".join))


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_findings_are_in_order_apart_and_what_stands_between_them_stays(text: str) -> None:
    found = ALL.find(text)
    at, kept = 0, []
    for it in found:
        assert at <= it.start < it.end <= len(text)
        kept += [text[at : it.start], f"[{it.kind}]"]
        at = it.end
    assert ALL.text(text) == "".join([*kept, text[at:]])


@given(st.lists(st.sampled_from(POSITIVES), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_what_is_found_alone_is_gone_among_others(some: list[Labelled]) -> None:
    texts = [it.text for it in POSITIVES if it in some]
    whole = ALL.text("\n\n".join(texts))
    for text in texts:
        for it in ALL.find(text):
            assert text[it.start : it.end] not in whole


def test_a_finding_lies_where_it_stands_in_the_text_with_hidden_signs() -> None:
    hidden = "\u200b".join(CARD)
    (found,) = ALL.find(f"\ufeffcard\u00ad {hidden} ok")
    assert f"\ufeffcard\u00ad {hidden} ok"[found.start : found.end] == hidden
    assert ALL.text(f"card {hidden} ok") == "card [card] ok"


def test_kinds_are_asked_for_one_by_one() -> None:
    assert Redactor(["card"]).text(f"{CARD} {MAIL}") == f"[card] {MAIL}"
    assert Redactor(["email"]).text(f"{CARD} {MAIL}") == f"{CARD} [email]"
    assert Redactor(["card", "email"]).name == Redactor(["email", "card"]).name != Redactor(["card"]).name
    with pytest.raises(ValueError, match="without a kind"):
        Redactor([])


def test_values_are_read_with_the_names_of_their_fields() -> None:
    given_ = {
        "phone": "5551234567",
        "number": 5551234567,
        "phones": [5551234567],
        "card": 4539148803436467,
        MAIL: {"x": [MAIL]},
        "db_password": "hunter2-x",
        "rest": ["hunter2-x", True, None, 1.5, 1700000000],
        "contactPhone": {"number": 5551234567, "id": 5551234567},
        "float": 4.539148803436467e15,
    }
    assert ALL.value(given_) == {
        "phone": "[phone]",
        "number": 5551234567,
        "phones": ["[phone]"],
        "card": "[card]",
        "[email]": {"x": ["[email]"]},
        "db_password": "[key]",
        "rest": ["hunter2-x", True, None, 1.5, 1700000000],
        "contactPhone": {"number": "[phone]", "id": 5551234567},
        "float": "[card]",
    }


@given(st.integers(-(10**15), 10**17))
@settings(max_examples=300, deadline=None)
def test_a_time_is_never_taken_for_a_number(time_us: int) -> None:
    assert ALL.text(render_time(time_us)) == render_time(time_us)


# --- into the log, and out of it


def test_what_goes_into_the_log_is_written_anew() -> None:
    line = b'{"id":"a","text":"' + CARD.encode() + b'","text":"clean","time":"2024-01-01T00:00:00Z"}'
    change = redacted(Outgoing(b"a", line, (("h", b"v"),)), ALL)
    assert change.value is not None
    assert parse(change.value) == {"id": "a", "text": "clean", "time": "2024-01-01T00:00:00Z"}
    assert change.headers == (("h", b"v"),)
    named = redacted(Outgoing(b"a", f'{{"id":"{MAIL}","{MAIL}":1,"contactPhone":"5551234567"}}'.encode()), ALL)
    assert parse(named.value or b"") == {"id": MAIL, "[email]": 1, "contactPhone": "[phone]"}
    unread = redacted(unreadable("a", f"damaged: {MAIL}", 0), ALL)
    assert MAIL.encode() not in b"".join([unread.value or b"", *(value for _, value in unread.headers)])
    assert redacted(Outgoing(b"a", None), ALL).value is None


def test_an_id_that_holds_something_is_refused_before_anything_is_appended() -> None:
    log = MemoryLog(SystemClock(), SystemIds())
    writer = RedactingWriter(log.writer("s", 1), ALL)
    changes = [upsert("a", CARD, 0), upsert(f"mail/{MAIL}", "x", 0), upsert("b", MAIL, 0)]
    with pytest.raises(Reject, match="its id holds") as refused:
        asyncio.run(writer.append(changes))
    assert refused.value.index == 1
    assert MAIL not in refused.value.reason
    asyncio.run(writer.append([changes[0], changes[2]]))

    async def values() -> list[bytes | None]:
        return [it.value async for it in log.history("s", "g", 1).read(0, 0, 9)]

    first, second = asyncio.run(values())
    assert (parse(first or b"")["text"], parse(second or b"")["text"]) == ("[card]", "[email]")


def test_a_document_whose_id_holds_something_can_be_deleted_and_is_a_delete_under_another_name() -> None:
    log = MemoryLog(SystemClock(), SystemIds())
    writer = RedactingWriter(log.writer("s", 1), ALL)
    long = f'{{"id": "{MAIL}", "op": "delete", "why": "{CARD}"}}'.encode()
    asyncio.run(writer.append([delete(MAIL, 0), Outgoing(MAIL.encode(), None), Outgoing(MAIL.encode(), long)]))

    async def records() -> list[Record]:
        return [it async for it in log.history("s", "g", 1).read(0, 0, 9)]

    held = asyncio.run(records())
    assert len(held) == 3
    assert CARD.encode() not in (held[2].value or b"")
    changes = [redacting(decode, ALL)(it, ANY_EPOCH) for it in held]
    assert [(it.id, isinstance(it, Change) and it.op) for it in changes] == [
        (f"record 0.{offset}", Op.DELETE) for offset in range(3)
    ]


def test_a_loop_goes_on_while_a_long_text_is_redacted() -> None:
    class Held(Redactor):
        def find(self, text: str) -> list[Finding]:
            assert threading.current_thread() is not threading.main_thread()
            return super().find(text)

    log = MemoryLog(SystemClock(), SystemIds())
    asyncio.run(RedactingWriter(log.writer("s", 1), Held(REDACTABLE)).append([upsert("a", CARD, 0)]))


def read(key: str, value: str) -> Change | Undecodable:
    return redacting(decode, ALL)(Record(3, 17, key.encode(), value.encode(), 5), ANY_EPOCH)


def test_what_comes_out_of_the_log_has_the_digest_of_what_is_left() -> None:
    change = read("a", f'{{"id": "a", "text": "{CARD}", "kind": "{MAIL}"}}')
    assert isinstance(change, Change)
    assert change.body == {"text": "[card]", "kind": "[email]"}
    assert change.digest == digest_value(change.body)
    untouched = read("a", '{"id": "a", "text": "x"}')
    assert isinstance(untouched, Change)
    assert untouched.digest == digest_value({"text": "x"})


def test_what_cannot_be_read_gives_nothing_away_either() -> None:
    named = read(MAIL, f'{{"id": "{MAIL}", "text": "x"}}')
    assert isinstance(named, Undecodable)
    assert (named.id, named.reason) == ("record 3.17", REFUSED)
    # Not even by a digest, which would tell that somebody guessed well.
    secret, other = read("a", f"not JSON {CARD}"), read("a", "not JSON")
    assert isinstance(secret, Undecodable)
    assert secret.digest == other.digest


@pytest.mark.parametrize("header", [UNREADABLE_HEADER, UNMET_HEADER])
def test_a_reason_that_a_header_gives_is_redacted(header: str) -> None:
    record = Record(0, 1, b"a", b"{}", 5, headers=((header, f"{MAIL} broke it".encode()),))
    change = redacting(decoding(decode), ALL)(record, ANY_EPOCH)
    assert isinstance(change, Undecodable)
    assert change.reason == "[email] broke it"


HARD = [
    *["1", "1 ", "4111 ", "1.", "01/", "0123 ", "+1 ", "(1", "00", "1\u200b", "\u0661", "order 1", "tel ", "tel 1"],
    *[
        "DE12 ",
        "DE12",
        "@",
        "a@",
        "a.",
        "a@a.",
        "a:",
        "f::",
        "://a:",
        "ip 1.1.1.1",
        "é1-",
        "\u200b",
        "a",
        " ",
        "-",
        '"',
    ],
    *["password=", 'password: "', "key ", "api_key", "eyJaaaaaaaaa.", "sk-a", "sk-a1", "xoxb-", "ghp_", "AKIA"],
    *["-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----!", "1-1-1.1/1(", "1:1:1:", "\\_", "password: a"],
]


def test_no_text_takes_long() -> None:
    # A rule that looked at each text once more for each sign of it would take hours, not seconds.
    program = (
        "import sys, json\n"
        "from headwater.recipe.options import REDACTABLE\n"
        "from headwater.recipe.redact.redactor import Redactor\n"
        "for part in json.loads(sys.argv[1]):\n"
        "    Redactor(REDACTABLE).text(part * (1_000_000 // len(part)))\n"
    )
    subprocess.run([sys.executable, "-c", program, json.dumps(HARD)], check=True, timeout=500)
