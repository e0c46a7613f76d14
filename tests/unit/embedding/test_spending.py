"""Spending: periods of any calendar, what is counted once and when, limits that are told once, and many workers."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from headwater.embedding.spending import Per, Spending, cost_usd, period
from headwater.model.receipt import DAY_US, Usage, day_of

MILLION = 1_000_000


def us(text: str) -> int:
    time = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(time.timestamp()) * MILLION


NOON = us("2027-03-10T12:00:00")
TODAY = day_of(NOON)


def spending(soft: float | None = None, hard: float | None = 10.0, per: Per = "day") -> Spending:
    return Spending(1.0, 0.25, soft, hard, per)  # a dollar is a million tokens, or four in batches


def dollars(number: float) -> Usage:
    return Usage(tokens=int(number * MILLION))


def learn(spent: Spending, daily: dict[int, Usage], stream: str = "s") -> None:
    spent.learn(stream, daily, spent.look(stream))


@pytest.mark.parametrize(
    ("per", "now", "start", "end"),
    [
        ("day", "2027-03-10T00:00:00", "2027-03-10", "2027-03-11"),
        ("day", "2027-12-31T23:59:59", "2027-12-31", "2028-01-01"),
        ("day", "2028-02-28T12:00:00", "2028-02-28", "2028-02-29"),
        ("month", "2027-01-31T23:59:59", "2027-01-01", "2027-02-01"),
        ("month", "2027-02-28T23:59:59", "2027-02-01", "2027-03-01"),
        ("month", "2028-02-29T00:00:00", "2028-02-01", "2028-03-01"),
        ("month", "2100-02-28T00:00:00", "2100-02-01", "2100-03-01"),
        ("month", "2027-04-30T00:00:00", "2027-04-01", "2027-05-01"),
        ("month", "2027-12-01T00:00:00", "2027-12-01", "2028-01-01"),
    ],
)
def test_a_period_is_a_day_or_a_calendar_month_of_utc(per: Per, now: str, start: str, end: str) -> None:
    assert period(per, us(now)) == (us(start), us(end))
    assert period(per, us(end) - 1) == (us(start), us(end))
    assert period(per, us(end))[0] == us(end)


def test_a_price_is_for_a_million_tokens() -> None:
    assert cost_usd(500_000, 0.13) == pytest.approx(0.065)
    assert cost_usd(10**12, 0.0) == 0.0


def test_what_the_ledger_has_of_the_period_is_spent() -> None:
    daily = {day_of(us("2027-02-28")): dollars(100), day_of(us("2027-03-01")): dollars(2), TODAY: dollars(3)}
    for per, expected in (("day", 3.0), ("month", 5.0)):
        spent = Spending(1.0, 0.25, None, 10.0, "day" if per == "day" else "month")
        learn(spent, daily)
        assert spent.spent_usd(NOON) == expected
        learn(spent, {TODAY: dollars(1)}, "another stream")
        assert spent.spent_usd(NOON) == expected + 1


def test_what_the_batch_interface_was_paid_for_counts_at_its_price() -> None:
    daily = {day_of(us("2027-03-01")): Usage(tokens=8 * MILLION, batch_tokens=8 * MILLION), TODAY: dollars(3)}
    daily[TODAY] += Usage(tokens=4 * MILLION, batch_tokens=4 * MILLION)
    for per, expected in (("day", 4.0), ("month", 6.0)):
        spent = spending(per="day" if per == "day" else "month")
        learn(spent, daily)
        assert spent.spent_usd(NOON) == expected
        spent.paid("s", MILLION, NOON)
        assert spent.spent_usd(NOON) == expected + 1
    assert spent.batch_cost_usd(6 * MILLION) == 1.5


def test_what_is_to_be_bought_ahead_must_fit_under_the_hard_limit() -> None:
    spent = spending(soft=1.0, hard=10.0)
    learn(spent, {TODAY: dollars(9)})
    assert spent.affords_batch(4 * MILLION, NOON)
    assert not spent.affords_batch(4 * MILLION + 1, NOON)
    assert spent.affords_batch(40 * MILLION, NOON + DAY_US)
    assert spending(hard=None).affords_batch(10**15, NOON)


def test_what_was_paid_counts_at_once_and_only_once() -> None:
    spent = spending()
    learn(spent, {TODAY: dollars(1)})
    spent.paid("s", 2 * MILLION, NOON)
    assert spent.spent_usd(NOON) == 3.0
    spent.settled("s", 2 * MILLION)
    assert spent.spent_usd(NOON) == 3.0, "settled, and no look has seen it"
    learn(spent, {TODAY: dollars(3)})
    assert spent.spent_usd(NOON) == 3.0
    learn(spent, {TODAY: dollars(3.5)})
    assert spent.spent_usd(NOON) == 3.5, "another worker settled"


def test_what_is_settled_during_a_look_is_never_missed() -> None:
    spent = spending()
    spent.paid("s", 2 * MILLION, NOON)
    looked = spent.look("s")
    spent.settled("s", 2 * MILLION)
    spent.learn("s", {}, looked)  # the ledger was read before
    assert spent.spent_usd(NOON) == 2.0
    spent.learn("s", {TODAY: dollars(2)}, looked)  # or after
    assert spent.spent_usd(NOON) == 4.0
    learn(spent, {TODAY: dollars(2)})
    assert spent.spent_usd(NOON) == 2.0


def test_tokens_belong_to_the_period_in_which_they_are_settled() -> None:
    spent, midnight = spending(), us("2027-03-11")
    spent.paid("s", 3 * MILLION, midnight - 1)
    assert (spent.spent_usd(midnight - 1), spent.spent_usd(midnight)) == (3.0, 0.0)
    spent.paid("s", MILLION, midnight)
    spent.settled("s", 3 * MILLION)
    learn(spent, {TODAY + 1: dollars(3)})
    assert spent.spent_usd(midnight) == 4.0
    spent.settled("s", MILLION)
    learn(spent, {TODAY + 1: dollars(4)})
    assert spent.spent_usd(midnight) == 4.0


def test_what_a_worker_takes_with_it_counts_for_this_period_and_no_other() -> None:
    spent = spending()
    spent.paid("s", 5 * MILLION, NOON)
    spent.settled("s", 3 * MILLION)
    spent.ended("s")
    assert spent.spent_usd(NOON) == 5.0
    learn(spent, {TODAY: dollars(3)})
    assert spent.spent_usd(NOON) == 5.0
    spent.paid("s", MILLION, NOON)
    assert spent.spent_usd(NOON) == 6.0
    tomorrow = NOON + DAY_US
    assert spent.spent_usd(tomorrow) == 0.0
    spent.settled("s", MILLION)
    learn(spent, {TODAY: dollars(3), TODAY + 1: dollars(1)})
    spent.paid("s", MILLION, tomorrow)
    assert spent.spent_usd(tomorrow) == 2.0


def test_what_a_worker_takes_with_it_of_an_earlier_period_is_forgotten() -> None:
    spent, tomorrow = spending(), NOON + DAY_US
    spent.paid("s", 5 * MILLION, NOON)
    spent.paid("s", MILLION, tomorrow)
    spent.settled("s", 2 * MILLION)
    spent.ended("s")
    assert spent.spent_usd(tomorrow) == 1.0
    spent.paid("s", MILLION, tomorrow)
    assert spent.spent_usd(tomorrow) == 2.0


def test_a_clock_that_goes_back_to_another_period_does_no_harm() -> None:
    spent, midnight = spending(soft=1.0), us("2027-03-11")
    learn(spent, {TODAY: dollars(1), TODAY + 1: dollars(4)})
    assert (spent.spent_usd(midnight), spent.crossed(midnight)) == (4.0, "soft")
    assert (spent.spent_usd(midnight - 1), spent.crossed(midnight - 1)) == (1.0, "soft")
    spent.paid("s", MILLION, midnight - 1)
    assert spent.spent_usd(midnight - 1) == 2.0
    assert (spent.crossed(midnight), spent.crossed(midnight - 1)) == (None, None)


def test_each_limit_is_told_once_a_period_the_soft_one_first() -> None:
    spent = spending(soft=4.0, hard=10.0)
    spent.paid("s", 4 * MILLION - 1, NOON)
    assert spent.crossed(NOON) is None
    spent.paid("s", 1, NOON)
    assert [spent.crossed(NOON), spent.crossed(NOON)] == ["soft", None]
    spent.paid("s", 6 * MILLION, NOON)
    assert [spent.crossed(NOON), spent.crossed(NOON)] == ["hard", None]
    tomorrow = NOON + DAY_US
    spent.paid("s", 11 * MILLION, tomorrow)
    assert [spent.crossed(tomorrow) for _ in range(3)] == ["soft", "hard", None]
    none = spending(soft=None, hard=None)
    none.paid("s", 10**15, NOON)
    assert (none.crossed(NOON), none.wait_s(NOON)) == (None, 0.0)


def test_at_the_hard_limit_the_next_period_is_waited_for() -> None:
    for per, seconds in (("day", 43_200.0), ("month", 43_200.0 + 21 * 86_400)):
        spent = spending(soft=1.0, per="day" if per == "day" else "month")
        spent.paid("s", 10 * MILLION - 1, NOON)
        assert spent.wait_s(NOON) == 0.0
        spent.paid("s", 1, NOON)
        assert spent.wait_s(NOON) == seconds
        assert spent.wait_s(NOON + int(seconds * 1e6) - 1) == pytest.approx(1e-6)
        assert spent.wait_s(NOON + int(seconds * 1e6)) == 0.0


def test_why_nothing_is_embedded_is_said_with_the_time_at_which_it_goes_on() -> None:
    said = "the budget of 10 USD a day is spent; it goes on at 2027-03-11 00:00 UTC"
    spent = spending()
    spent.paid("s", 10 * MILLION, NOON)
    assert spent.cause(NOON) == said
    said = "the budget of 1234567.5 USD a month is spent; it goes on at 2028-01-01 00:00 UTC"
    spent = spending(hard=1234567.5, per="month")
    learn(spent, {day_of(us("2027-12-31")): dollars(2e6)})
    assert spent.cause(us("2027-12-31T23:59:59")) == said


# --- many workers

HARD, LOOK_S, READ_S, SETTLE_S, CALL_S = 3_000, 10, 3, 5, 4  # tokens, seconds


class Ledger:
    """What was settled."""

    def __init__(self) -> None:
        self.daily: dict[int, Usage] = {}

    def add(self, day: int, usage: Usage) -> None:
        self.daily[day] = self.daily.get(day, Usage()) + usage

    def spent(self, day: int) -> float:
        usage = self.daily.get(day, Usage())
        return usage.tokens - usage.batch_tokens / 2


class Worker:
    """One worker: begins calls while it may, pays when they end, settles in order, and looks."""

    def __init__(self, dice: random.Random, ledger: Ledger, batches: float) -> None:
        self._dice = dice
        self._batches = batches
        self._ledger = ledger
        self.spending = Spending(MILLION, MILLION / 2, None, HARD, "day")  # a dollar a token, half of it in batches
        self.calls: list[tuple[int, int]] = []
        self.unsettled: list[tuple[int, int, int]] = []
        self._next_look = dice.randrange(LOOK_S)
        self._looking: tuple[int, int, int, dict[int, Usage] | None] | None = None
        self._settled = 0  # during the look that is under way
        self.doubtful = 0  # during the last one: it may count twice
        self.begun: list[int] = []

    def step(self, now: int) -> None:
        now_us = now * MILLION
        self._look(now)
        for end, tokens in [call for call in self.calls if call[0] <= now]:
            self.calls.remove((end, tokens))
            self.spending.paid("s", tokens, now_us)
            due = max(now + self._dice.randrange(1, SETTLE_S + 1), self.unsettled[-1][0] if self.unsettled else 0)
            self.unsettled.append((due, now, tokens))
        while self.unsettled and self.unsettled[0][0] <= now:
            _, _, tokens = self.unsettled.pop(0)
            self._ledger.add(day_of(now_us), Usage(tokens=tokens))
            self.spending.settled("s", tokens)
            self._settled += tokens
        if self._dice.random() < self._batches:
            tokens = 2 * self._dice.randrange(1, 60)
            self._ledger.add(day_of(now_us), Usage(tokens=tokens, batch_tokens=tokens))
        while len(self.calls) < 4 and self._dice.random() < 0.5 and self.spending.wait_s(now_us) == 0.0:
            self.calls.append((now + self._dice.randrange(1, CALL_S + 1), self._dice.randrange(1, 40)))
            self.begun.append(now)

    def _look(self, now: int) -> None:
        """A look takes its time, and reads at some moment of it."""
        if self._looking is None and now >= self._next_look:
            self._settled = 0
            end = now + self._dice.randrange(READ_S + 1)
            self._looking = (self.spending.look("s"), self._dice.randrange(now, end + 1), end, None)
        if self._looking is None:
            return
        looked, at, end, found = self._looking
        if now >= at and found is None:
            found = dict(self._ledger.daily)
        self._looking = (looked, at, end, found)
        if now >= end and found is not None:
            self.spending.learn("s", found, looked)
            self._looking, self._next_look, self.doubtful = None, now + LOOK_S, self._settled


@pytest.mark.parametrize("seed", range(150))
def test_workers_pass_the_hard_limit_by_no_more_than_is_promised(seed: int) -> None:
    dice = random.Random(seed)
    ledger = Ledger()
    batches = dice.choice([0.0, 0.05])  # how often documents are settled that were bought ahead
    workers = [Worker(dice, ledger, batches) for _ in range(dice.randrange(1, 6))]
    midnight = (TODAY + 1) * 86_400
    reached: dict[int, int] = {}
    alone = len(workers) == 1 and not batches

    def truth(now: int) -> float:
        day = now // 86_400
        unsettled = sum(it[2] for worker in workers for it in worker.unsettled if it[1] // 86_400 == day)
        return ledger.spent(day) + unsettled

    for now in range(midnight - 900, midnight + 900):
        day = now // 86_400
        for worker in workers:
            before = len(worker.begun)
            worker.step(now)
            if day in reached and len(worker.begun) > before:
                late = now - reached[day]
                assert late == 0 if alone else late <= LOOK_S + READ_S + SETTLE_S, "it was known by then"
            if worker.spending.wait_s(now * MILLION):
                assert truth(now) + worker.doubtful >= HARD, "stopped without a reason"
        if truth(now) >= HARD:
            reached.setdefault(day, now)
    assert len(reached) == 2, "both days have work for more than the limit"
    assert any(begun >= midnight for worker in workers for begun in worker.begun), "it goes on at midnight"
    for worker in workers:
        assert not worker.unsettled
        learn(worker.spending, ledger.daily)
        assert worker.spending.spent_usd(now * MILLION) == truth(now), "all is counted, and once"
