"""What a record answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headwater.rehearsal.counting import Characters
from headwater.rehearsal.plan import WindowKind, read_plan
from headwater.rehearsal.record import Entry, Opening, Record, Recorder, digest_of, read_record
from headwater.rehearsal.service import Ask, Service

PLAN = read_plan({})


def entry(number: int, at_us: int, **more: Any) -> Entry:
    times = {"at_us": at_us, "start_us": at_us, "end_us": at_us + 10}
    written = {"account": 0, "status": 200, "texts": 1, "tokens": 1, "admitted": True, "embedded": True}
    return Entry(number=number, **{**times, **written, **more})


def record(*entries: Entry) -> Record:
    return Record(Opening(0, PLAN), entries)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 1)), max_size=40))
def test_the_most_in_any_window_is_what_a_plain_count_finds(steps: list[tuple[int, int, int]]) -> None:
    now, entries = 0, []
    for number, (step, tokens, account) in enumerate(steps):
        now += step
        entries.append(entry(number, now, tokens=tokens, account=account))
    made = record(*entries)

    def most(account: int, first: int) -> int:
        return sum(it.tokens for it in entries if it.account == account and first <= it.at_us < first + 100)

    sliding = max((most(account, first) for account in (0, 1) for first in range(now + 1)), default=0)
    fixed = max((most(account, first) for account in (0, 1) for first in range(0, now + 1, 100)), default=0)
    assert made.most("tokens", 100, WindowKind.SLIDING) == sliding
    assert made.most("tokens", 100, WindowKind.FIXED) == fixed


def test_what_a_limit_held_back_counts_only_when_asked_for() -> None:
    refused = {"admitted": False, "embedded": False, "status": 429}
    others = [
        {**refused, "refused": "rate_limited"},
        {**refused, "refused": "rate_limited", "faults": ("storm",)},
        {**refused, "refused": "no_quota"},
    ]
    made = record(entry(0, 0), *(entry(number, number, **it) for number, it in enumerate(others, 1)))
    assert made.most("requests", 100, WindowKind.SLIDING) == 1
    assert made.most("requests", 100, WindowKind.SLIDING, refused_too=True) == 2


def test_repeats_are_seen_in_texts_and_in_requests() -> None:
    made = record(
        entry(0, 0, digests=("a", "b"), texts=2),
        entry(1, 10, digests=("c",), embedded=False, status=500),
        entry(2, 20, digests=("c",)),
        entry(3, 30, digests=("a", "b"), texts=2, status=None),
    )
    assert made.embedded() == {"a": 2, "b": 2, "c": 1}
    assert made.embedded_per_text() == 5 / 3
    assert made.requests_per_batch() == 2
    assert made.statuses() == {200: 2, 500: 1, None: 1}
    assert made.texts_per_s(0, 30) == 3 * 1e6 / 30
    assert made.texts_per_s(5, 25) == (2 * 0.5 + 0.5) * 1e6 / 20, "a request counts for the part inside"
    assert made.texts_per_s(30, 40) == 0, "what was never answered is of no use"
    assert made.between(10, 30).statuses() == {500: 1, 200: 1}
    assert made.summary()["statuses"] == {"200": 2, "500": 1, "never": 1}


def test_lines_of_jobs_and_requests_about_them_stand_apart() -> None:
    apart = {"admitted": False}
    made = record(
        entry(0, 0, digests=("a",)),
        entry(1, 0, about="POST /files", texts=0, tokens=0, embedded=False, **apart),
        entry(2, 0, about="GET /batches", texts=0, tokens=0, embedded=False, status=429, faults=("storm",), **apart),
        entry(3, 10, batch="batch_1", digests=("a", "b"), texts=2, tokens=9, **apart),
        entry(4, 10, batch="batch_1", digests=("c",), embedded=False, status=400, **apart),
        entry(5, 10, batch="batch_2", digests=("c",), **apart),
    )
    assert made.embedded() == {"a": 2, "b": 1, "c": 1}
    assert made.faults() == {"storm": 1}
    assert made.statuses() == {200: 1}
    assert made.requests_per_batch() == 1
    assert made.texts_per_s(0, 1_000_000) == 1
    assert made.most("requests", 100, WindowKind.SLIDING, refused_too=True) == 1
    figures = made.summary()
    assert (figures["requests"], figures["texts_embedded"]) == (1, 4)
    assert figures["batch"] == {
        "jobs": 2,
        "lines": 3,
        "texts_embedded": 3,
        "requests": {"GET /batches": 1, "POST /files": 1},
    }


def test_work_without_a_duration_counts_at_its_moment() -> None:
    made = record(entry(0, 10, end_us=10), entry(1, 20, end_us=20))
    assert made.texts_per_s(10, 20) == 1e5


def test_nothing_is_known_of_an_empty_record() -> None:
    made = record()
    assert (made.embedded_per_text(), made.requests_per_batch(), made.texts_per_s(0, 1)) == (0, 0, 0)
    assert made.most("requests", 100, WindowKind.FIXED) == 0


def test_what_was_written_is_read_up_to_a_line_that_is_not_whole(tmp_path: Path) -> None:
    plan = read_plan(
        {"keys": ["sesame"], "limits": [{"window_s": 1, "tokens": 100}], "behaviour": {"poison": ["lead"]}}
    )
    service = Service(plan, Characters(4.0))
    path = tmp_path / "record.jsonl"
    with path.open("wb") as file:
        recorder = Recorder(file, Opening(7, plan))
        for texts in (("private words", "more"), ("lead",)):
            ask = Ask("sesame", "fake-embedding", texts, 10)
            recorder.write(ask, service.decide(5, ask), 200)
        recorder.write(None, service.decide(6, None), 400)
        recorder.write(None, service.decide_errand(7, "sesame"), 200, about="POST /files")
        ask = Ask("sesame", "fake-embedding", ("a",), 10)
        recorder.write(ask, service.decide_line(8, "sesame", ask), 200, batch="batch_1")
        file.write(b'{"number":3,"acc')
    assert b"sesame" not in path.read_bytes()
    assert b"private" not in path.read_bytes()
    made = read_record(path)
    assert made.started_at_us == 7
    assert made.plan == msgspec.structs.replace(plan, keys=())
    first, second, third, errand, line = made.entries
    assert (errand.about, errand.embedded, errand.direct, errand.admitted) == ("POST /files", False, False, False)
    assert (line.batch, line.embedded, line.direct, line.admitted) == ("batch_1", True, False, False)
    assert first.digests == (digest_of("private words"), digest_of("more"))
    assert (first.tokens, first.embedded, first.refused) == (5, True, "")
    assert (second.admitted, second.embedded, second.refused) == (True, False, "poison")
    assert (third.refused, third.texts) == ("malformed", 0)
    assert made.summary()["limits"] == [
        {
            "of": "tokens",
            "kind": "sliding",
            "window_s": 1.0,
            "limit": 100,
            "most_admitted": 6,
            "most_asked": 6,
        }
    ]
