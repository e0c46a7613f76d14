"""Single decisions of the dispatcher and its parts, at the edges that traffic in simulation does not reach."""

from __future__ import annotations

import math

import pytest

from headwater.embedding.batching import Limits
from headwater.embedding.budget import Budget, Quota
from headwater.embedding.capacity import Capacity
from headwater.embedding.dispatch import HOPELESS, Call, Dispatcher
from headwater.embedding.lanes import Lane, Policy, Text
from headwater.embedding.port import Allowance
from headwater.embedding.retries import FAILURES, Breaker, RetryBudget, State, backoff_s
from headwater.errors import Overloaded, RateLimited, Retry
from headwater.patience import FIRST_PAUSE_S, LONGEST_PAUSE_S

SILENT = Allowance()


def dispatcher(budget: Budget | None = None, *, ceiling: int = 8) -> Dispatcher:
    return Dispatcher(Limits(4, 1_000, 10_000), budget or Budget(), Capacity(ceiling), Policy())


def text(key: int, lane: Lane = Lane.LIVE, size: int = 40) -> Text:
    return Text(key, lane, "stream", size, 0.0)


def sent(step: Call | float) -> Call:
    assert isinstance(step, Call)
    return step


def test_nothing_to_do_waits_for_something_to_come() -> None:
    assert dispatcher().next(0.0) == math.inf


def test_a_lone_text_goes_at_once() -> None:
    it = dispatcher()
    it.add([text(1)], 0.0)
    assert [one.key for one in sent(it.next(0.0)).texts] == [1]
    assert it.next(0.0) == math.inf


def test_one_call_at_once_is_the_floor() -> None:
    capacity = Capacity(ceiling=1)
    for second in range(20):
        capacity.overloaded(float(second), 1, float(second))
    assert capacity.limit == 1


def test_what_is_rejected_is_sent_again_in_the_parts_that_the_caller_makes() -> None:
    it = dispatcher()
    for key in range(4):
        it.add([text(key)], 0.0)
    call = sent(it.next(0.0))
    it.rejected(call, 0.1)
    it.resend(call.texts[:2], 0.1)
    it.resend(call.texts[2:], 0.1)
    assert [one.key for one in sent(it.next(0.1)).texts] == [0, 1]


def test_an_abandoned_call_frees_its_place_and_does_not_come_again() -> None:
    it = dispatcher(ceiling=1)
    it.add([text(1)], 0.0)
    it.add([text(2, Lane.REPLAY)], 0.0)
    call = sent(it.next(0.0))
    assert it.next(0.0) == math.inf
    it.abandoned(call, 0.1)
    assert [one.key for one in sent(it.next(0.1)).texts] == [2]


def test_a_refused_call_waits_as_long_as_it_was_told_and_comes_first() -> None:
    it = dispatcher()
    it.add([text(1)], 0.0)
    call = sent(it.next(0.0))
    it.failed(call, RateLimited("service", "slow down", 7.0), 0.0, 1.0)
    it.add([text(2)], 1.0)
    wait = it.next(1.0)
    assert isinstance(wait, float)
    assert 7.0 <= wait <= 7.1
    again = sent(it.next(1.0 + wait))
    assert [one.key for one in again.texts] == [1]
    assert again.attempt == 0


def test_an_open_breaker_lets_one_probe_go() -> None:
    it = dispatcher()
    now = 0.0
    it.add([text(0)], now)
    while not it.breaker.wait_s(now):
        step = it.next(now)
        if isinstance(step, Call):
            it.failed(step, Retry("service", "away"), 0.5, now)
        else:
            now += step
    for key in range(1, 10):
        it.add([text(key)], now)
    now += it.breaker.wait_s(now)
    probe = sent(it.next(now))
    assert it.next(now) == math.inf
    it.answered(probe, 10, SILENT, SILENT, now)
    assert it.breaker.wait_s(now) == 0.0
    assert isinstance(it.next(now), Call)


def test_a_probe_that_fails_opens_the_breaker_for_longer() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(0.0, None, 0.0)
    first = breaker.wait_s(0.0)
    breaker.sent()
    breaker.failed(0.0, None, first)
    assert breaker.wait_s(first) == 2 * first


def test_the_backoff_is_anywhere_below_a_bound_that_doubles() -> None:
    assert backoff_s(1, 0.0) == 0.0
    assert [backoff_s(attempt, 1.0) / FIRST_PAUSE_S for attempt in (1, 2, 3)] == [1, 2, 4]
    assert backoff_s(10_000, 1.0) == LONGEST_PAUSE_S
    assert backoff_s(1, 0.5, 30.0) >= 30.0


def test_retries_beyond_the_saved_ones_queue_up() -> None:
    retries = RetryBudget()
    assert [retries.reserve_s(0.0) for _ in range(12)] == [0.0] * 10 + [1.0, 2.0]
    for _ in range(100):
        retries.requested()
    assert retries.reserve_s(0.0) == 0.0


def test_no_call_before_the_limits_are_known_but_the_first() -> None:
    budget = Budget()
    first = budget.book(10, 10, 0.0)
    assert budget.fit(1, 1, 1, 0.0, 0.0).wait_s == math.inf
    budget.answered(first, 10, Allowance(100, 99, 60.0), Allowance(50, 40, 60.0), 0.1)
    assert budget.fit(1, 40, 40, 0.0, 0.1).tokens == 40
    assert budget.fit(50, 50, 50, 0.0, 0.1).wait_s > 59


def test_a_call_over_the_whole_limit_goes_once_everything_is_free() -> None:
    quota = Quota(100, 10.0)
    hold = quota.book(60, 0, 0.0)
    assert quota.wait_s(500, 0.0, 0.0) == math.inf
    quota.settle(hold, 60, SILENT, 0.0)
    assert 10.0 <= quota.wait_s(500, 0.0, 0.0) < 10.1
    assert quota.wait_s(500, 0.0, 10.1) == 0.0


def test_a_service_that_has_no_limit_says_so_with_odd_numbers() -> None:
    for said in (Allowance(-1, -1, None), Allowance(0, 0, 0.0)):
        quota = Quota(None, 60.0)
        quota.settle(quota.book(10, 0, 0.0), 10, said, 0.1)
        assert quota.wait_s(1_000_000, 0.0, 0.1) == 0.0


def test_a_share_of_the_account_is_all_that_is_used() -> None:
    budget = Budget(tokens=100, window_s=10.0)
    budget.answered(budget.book(0, 0, 0.0), 0, SILENT, Allowance(100, 60, 10.0), 0.0)
    budget.set_share(0.5)
    # The 40 that others used are within their half.
    budget.answered(budget.book(10, 10, 10.0), 10, SILENT, Allowance(100, 50, 10.0), 10.1)
    assert budget.tokens.room(0.0, 10.1) == 40


@pytest.mark.parametrize("alive", [True, False])
def test_a_service_that_answers_what_cannot_be_used_is_there(alive: bool) -> None:
    it, now = dispatcher(), 0.0
    it.add([text(1)], now)
    for _ in range(2 * FAILURES):
        while not isinstance(step := it.next(now), Call):
            now += step
        it.failed(step, Retry("service", "not finite"), 0.5, now, alive=alive)
    assert (it.breaker.state is State.CLOSED) is alive


def test_a_batch_that_is_refused_again_and_again_goes_in_halves() -> None:
    it, now = dispatcher(), 0.0
    it.add([text(key) for key in range(4)], now)
    sizes = []
    for _ in range(HOPELESS + 2):
        while not isinstance(step := it.next(now), Call):
            now += step
        sizes.append(len(step.texts))
        it.failed(step, RateLimited("service", "slow down"), 0.5, now)
    assert sizes[:HOPELESS] == [4] * HOPELESS
    assert sizes[HOPELESS] == 2


def test_a_lone_call_that_is_too_much_shows_a_service_that_is_away() -> None:
    it, now = dispatcher(), 0.0
    it.add([text(1)], now)
    for _ in range(FAILURES):
        while not isinstance(step := it.next(now), Call):
            now += step
        it.failed(step, Overloaded("service", "full"), 0.5, now)
    assert it.breaker.state is State.OPEN


def test_a_batch_that_went_with_a_larger_share_goes_on_in_parts() -> None:
    budget = Budget(tokens=8_000, window_s=2.0)
    it, now = Dispatcher(Limits(60, 10_000, 100_000), budget, Capacity(), Policy()), 0.0
    it.add([text(key, size=100) for key in range(60)], now)
    budget.set_share(0.98)
    failed = sent(it.next(now))
    assert failed.tokens > 4_000
    it.failed(failed, Retry("service", "500"), 0.5, now)
    budget.set_share(0.495)
    again: list[int] = []
    while len(again) < len(failed.texts):
        if isinstance(step := it.next(now), Call):
            again += [one.key for one in step.texts]
            it.answered(step, 1, SILENT, SILENT, now)
        else:
            now += step
    assert sorted(again) == [one.key for one in failed.texts]


def test_a_dispatcher_looks_again_although_only_another_ones_answer_frees_the_account() -> None:
    budget = Budget()
    one, other = dispatcher(budget), dispatcher(budget)
    one.add([text(1)], 0.0)
    other.add([text(2)], 0.0)
    first = sent(one.next(0.0))  # it goes alone: its answer says what the limits are
    wait = other.next(0.0)
    assert isinstance(wait, float)
    assert wait < 1
    one.answered(first, 10, SILENT, SILENT, 0.1)
    assert isinstance(other.next(wait), Call)
