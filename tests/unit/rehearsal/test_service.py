"""What the service decides: who waits, who is refused and why, which faults strike, what is embedded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.rehearsal.counting import Characters
from headwater.rehearsal.plan import Fault, read_behaviour, read_plan
from headwater.rehearsal.service import SPOILING, Ask, Service, Verdict, Why, chance

MS = 1000


def service(**plan: Any) -> Service:
    return Service(read_plan(plan), Characters(4.0))


def ask(*texts: str, **more: Any) -> Ask:
    return Ask(key=more.pop("key", "k"), model=more.pop("model", "fake-embedding"), texts=texts, size=100, **more)


def why(verdict: Verdict) -> Why | None:
    return verdict.refusal.why if verdict.refusal else None


def decided(made: Service, times: Iterable[int], *texts: str) -> list[Verdict]:
    return [made.decide(now, ask(*texts or ("text",))) for now in times]


# Places and the queue


def test_a_request_takes_the_time_of_a_batch_and_of_each_text() -> None:
    (verdict,) = decided(service(behaviour={"batch_ms": 40, "item_ms": 2.5}), [7], "a", "b")
    assert (verdict.start_us, verdict.end_us) == (7, 7 + 45 * MS)


def test_what_has_no_place_waits_in_the_order_of_arrival() -> None:
    made = service(at_once=2, behaviour={"batch_ms": 10})
    starts = [verdict.start_us // MS for verdict in decided(made, [0, 4 * MS, 5 * MS, 6 * MS, 7 * MS])]
    assert starts == [0, 4, 10, 14, 20]


@pytest.mark.parametrize("overflow", [429, 503])
def test_a_full_queue_refuses_and_says_when_there_is_room(overflow: int) -> None:
    made = service(at_once=1, queue=1, overflow=overflow, behaviour={"batch_ms": 10})
    first, second, third = decided(made, [0, 0, 3 * MS])
    assert (why(first), why(second), why(third)) == (None, None, Why.OVERLOADED)
    assert third.refusal is not None
    assert (third.refusal.status, third.refusal.retry_us) == (overflow, 7 * MS)
    assert not third.admitted
    # At 10 ms the second leaves the queue for its place.
    assert [why(verdict) for verdict in decided(made, [10 * MS])] == [None]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), max_size=60), st.integers(1, 4))
def test_there_are_never_more_at_work_than_places_and_no_place_is_idle_while_one_waits(
    steps: list[tuple[int, int]], at_once: int
) -> None:
    made = service(at_once=at_once, behaviour={"batch_ms": 0.01, "item_ms": 0.007})
    now, verdicts = 0, []
    for step, texts in steps:
        now += step
        verdicts.append(made.decide(now, ask(*["text"] * texts)))
    for verdict in verdicts:
        at_work = [it for it in verdicts if it.start_us <= verdict.start_us < it.end_us]
        assert len(at_work) <= at_once
        if verdict.start_us > verdict.arrived_us:
            before = verdict.start_us - 1
            assert sum(it.start_us <= before < it.end_us for it in verdicts) == at_once


# Limits


def test_over_a_limit_it_says_when_there_is_room() -> None:
    made = service(limits=[{"window_s": 1, "tokens": 10}])
    fits, not_yet, again = (made.decide(now, ask("x" * 24)) for now in (0, 400_000, 1_000_000))
    assert (why(fits), why(not_yet), why(again)) == (None, Why.RATE_LIMITED, None)
    assert not_yet.refusal is not None
    assert not_yet.refusal.retry_us == 600_000
    assert (fits.tokens, fits.admitted, not_yet.admitted) == (6, True, False)
    assert fits.tokens_left is not None
    assert (fits.tokens_left.limit, fits.tokens_left.left, fits.tokens_left.reset_us) == (10, 4, 1_000_000)


def test_each_account_has_limits_of_its_own() -> None:
    made = service(limits=[{"window_s": 1, "requests": 1}])
    verdicts = [made.decide(0, ask("text", key=key)) for key in ("a", "b", "a")]
    assert [why(verdict) for verdict in verdicts] == [None, None, Why.RATE_LIMITED]
    assert [verdict.account for verdict in verdicts] == [0, 1, 0]


# Requests that cannot be


@pytest.mark.parametrize(
    ("asked", "reason", "text"),
    [
        (None, Why.MALFORMED, None),
        (ask("a", key="other"), Why.BAD_KEY, None),
        (ask("a", model="other"), Why.NO_MODEL, None),
        (ask(), Why.NO_TEXT, None),
        (ask("a", "", "b"), Why.EMPTY_TEXT, 1),
        (ask(*"abcde"), Why.TOO_MANY_TEXTS, None),
        (ask("a", "b", "x" * 41), Why.TEXT_TOO_LONG, 2),
        (ask("x" * 40, "x" * 40, "x" * 4), Why.TOO_MANY_TOKENS, None),
        (ask("a", dimensions=385), Why.BAD_DIMENSIONS, None),
        (ask("x" * 41, truncate=True), None, None),
        (ask("x" * 40, "x" * 40), None, None),
    ],
)
def test_requests_are_held_to_what_the_service_takes(asked: Ask | None, reason: Why | None, text: int | None) -> None:
    made = service(keys=["k"], max_texts=4, max_text_tokens=10, max_tokens=20, limits=[{"window_s": 1, "requests": 1}])
    verdict = made.decide(0, asked)
    assert why(verdict) is reason
    assert (verdict.refusal.text if verdict.refusal else None) == text
    assert verdict.admitted is (reason is None), "what cannot be costs nothing"


def test_a_body_that_is_too_large_is_refused() -> None:
    assert [why(verdict) for verdict in decided(service(max_bytes=99), [0])] == [Why.TOO_LARGE]


# Faults


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.REDIRECT, Why.REDIRECTED),
        (Fault.HTML, Why.HTML),
        (Fault.BAD_KEY, Why.BAD_KEY),
        (Fault.NO_MODEL, Why.NO_MODEL),
        (Fault.NO_QUOTA, Why.NO_QUOTA),
        (Fault.STORM, Why.RATE_LIMITED),
        (Fault.UNAVAILABLE, Why.OVERLOADED),
        (Fault.SERVER_ERROR, Why.SERVER_ERROR),
        (Fault.BAD_GATEWAY, Why.BAD_GATEWAY),
    ],
)
def test_a_fault_instead_of_the_work(fault: Fault, reason: Why) -> None:
    made = service(behaviour={"batch_ms": 10, "item_ms": 5, "shares": {fault: 1}, "retry_s": 0.25})
    (verdict,) = decided(made, [0])
    assert (why(verdict), verdict.faults, verdict.texts) == (reason, (fault,), ())
    assert verdict.refusal is not None
    waits = {Fault.STORM, Fault.UNAVAILABLE}
    assert verdict.refusal.retry_us == (250 * MS if fault in waits else None)
    assert verdict.end_us == (10 * MS if fault in (Fault.SERVER_ERROR, Fault.BAD_GATEWAY) else 0)


@pytest.mark.parametrize("fault", SPOILING)
def test_a_fault_after_the_work(fault: Fault) -> None:
    made = service(behaviour={"batch_ms": 10, "shares": {fault: 1}})
    (verdict,) = decided(made, [0], "a", "b", "c")
    assert (why(verdict), verdict.faults, verdict.texts) == (None, (fault,), ("a", "b", "c"))
    assert verdict.end_us == 10 * MS
    assert (verdict.rotation in (1, 2)) is (fault is Fault.REORDERED)


def test_every_fault_is_one_or_the_other() -> None:
    tested = {Fault.REDIRECT, Fault.HTML, Fault.BAD_KEY, Fault.NO_MODEL, Fault.NO_QUOTA, Fault.STORM}
    tested |= {Fault.UNAVAILABLE, Fault.SERVER_ERROR, Fault.BAD_GATEWAY}
    assert tested | set(SPOILING) == set(Fault)


def test_a_share_strikes_about_that_many_and_the_same_ones_again() -> None:
    plan = {"seed": 7, "behaviour": {"shares": {"server_error": 0.05, "scaled": 0.5}}}
    struck = [[it.faults for it in decided(service(**plan), range(4000))] for _ in range(2)]
    assert struck[0] == struck[1]
    counts = Counter(fault for faults in struck[0] for fault in faults)
    assert 150 <= counts[Fault.SERVER_ERROR] <= 250
    assert 1800 <= counts[Fault.SCALED] <= 2000, "those that failed have nothing to scale"
    assert struck[0] != [it.faults for it in decided(service(**{**plan, "seed": 8}), range(4000))]


def test_chance_is_even() -> None:
    drawn = [chance(1, number, "storm") for number in range(4000)]
    assert all(0 <= it < 1 for it in drawn)
    assert all(320 <= count <= 480 for count in Counter(int(it * 10) for it in drawn).values())


@pytest.mark.parametrize(("named", "text"), [(True, 1), (False, None)])
def test_poison_is_refused_by_name_or_not(named: bool, text: int | None) -> None:
    made = service(behaviour={"poison": ["arsenic", "lead"], "poison_named": named})
    poisoned, clean = made.decide(0, ask("a", "some lead", "arsenic")), made.decide(0, ask("a"))
    assert (why(poisoned), why(clean)) == (Why.POISON, None)
    assert poisoned.refusal is not None
    assert poisoned.refusal.text == text


def test_limits_come_before_poison() -> None:
    made = service(limits=[{"window_s": 1, "requests": 1}], behaviour={"poison": ["lead"]})
    assert [why(verdict) for verdict in decided(made, [0, 0], "lead")] == [Why.POISON, Why.RATE_LIMITED]


@pytest.mark.parametrize(("hidden", "reported"), [(False, 12), (True, 15)])
def test_silent_truncation_cuts_and_counts(hidden: bool, reported: int) -> None:
    made = service(behaviour={"truncate_tokens": 10, "truncation_hidden": hidden})
    verdict = made.decide(0, ask("x" * 52, "y" * 8))
    assert verdict.texts == ("x" * 40, "y" * 8)
    assert (verdict.tokens, verdict.reported) == (12, reported)


def test_a_text_that_is_silently_cut_is_never_too_long() -> None:
    made = service(max_text_tokens=20, behaviour={"truncate_tokens": 10})
    assert why(made.decide(0, ask("x" * 400))) is None


def test_faults_come_and_go_at_their_times() -> None:
    phases = [
        {"from_s": 1, "until_s": 2, "behaviour": {"shares": {"no_model": 1}}},
        {"from_s": 1.5, "behaviour": {"drift": 0.5}},
    ]
    made = service(behaviour={"batch_ms": 5}, phases=phases)
    verdicts = decided(made, [999_999, 1_000_000, 1_499_999, 1_500_000, 9_000_000])
    assert [why(it) for it in verdicts] == [None, Why.NO_MODEL, Why.NO_MODEL, None, None]
    assert [it.drift for it in verdicts] == [0, 0, 0, 0.5, 0.5]


def test_a_behaviour_that_is_set_holds_whatever_the_plan_says() -> None:
    made = service(phases=[{"behaviour": {"shares": {"storm": 1}}}])
    assert [why(it) for it in decided(made, [0])] == [Why.RATE_LIMITED]
    made.behave(read_behaviour({}, made.plan.behaviour))
    assert [why(it) for it in decided(made, [0])] == [None]


def test_nothing_shows_a_text_or_a_key() -> None:
    verdict = service().decide(0, ask("private words", key="sesame"))
    assert "private" not in repr(verdict)
    assert "sesame" not in repr(ask("private words", key="sesame"))


# Jobs, and requests about them


def test_a_line_of_a_job_costs_no_time_and_nothing_of_the_account() -> None:
    made = service(at_once=1, queue=0, limits=[{"window_s": 60, "requests": 1}], behaviour={"batch_ms": 10})
    lines = [made.decide_line(5, "k", ask("text")) for _ in range(3)]
    assert {(why(line), line.start_us, line.end_us, line.admitted, line.tokens) for line in lines} == {
        (None, 5, 5, False, 1)
    }
    assert [line.texts for line in lines] == [("text",)] * 3
    (first, second) = decided(made, [5, 5])
    assert (why(first), why(second)) == (None, Why.RATE_LIMITED)
    assert {line.account for line in lines} == {first.account}
    assert made.decide_line(5, "another", ask("text")).account != first.account


def test_a_line_is_refused_as_a_request_is() -> None:
    made = service(max_text_tokens=2, max_texts=1, behaviour={"poison": ["lead"]})
    asks = [None, ask("lead"), ask("text" * 3), ask("a", "b"), ask(""), ask("a", model="b"), ask("a", dimensions=999)]
    assert [why(made.decide_line(0, "k", each)) for each in asks] == [
        Why.MALFORMED,
        Why.POISON,
        Why.TEXT_TOO_LONG,
        Why.TOO_MANY_TEXTS,
        Why.EMPTY_TEXT,
        Why.NO_MODEL,
        Why.BAD_DIMENSIONS,
    ]


def test_a_request_about_jobs_is_nobodys_who_has_no_key() -> None:
    made = service(keys=["k"], limits=[{"window_s": 60, "requests": 1}])
    assert [why(made.decide_errand(0, key)) for key in ("k", "another", "", "k")] == [
        None,
        Why.BAD_KEY,
        Why.BAD_KEY,
        None,
    ]
    assert [why(verdict) for verdict in decided(made, [0])] == [None], "it counted"


LINES = set(SPOILING) - {Fault.CUT} | {Fault.NO_MODEL, Fault.SERVER_ERROR}
ERRANDS = set(Fault) - set(SPOILING) - {Fault.NO_MODEL} | {Fault.TIMEOUT, Fault.CUT}


@pytest.mark.parametrize("fault", Fault)
def test_faults_strike_what_they_can_happen_to(fault: Fault) -> None:
    made = service(behaviour={"shares": {fault: 1}, "retry_s": 3})
    assert made.decide_line(0, "k", ask("a", "b")).faults == ((fault,) if fault in LINES else ())
    errand = made.decide_errand(0, "k")
    assert errand.faults == ((fault,) if fault in ERRANDS else ())
    if fault in (Fault.STORM, Fault.UNAVAILABLE):
        assert errand.refusal is not None
        assert errand.refusal.retry_us == 3_000 * MS
