"""Single decisions about shares, at the edges that histories in simulation rarely reach."""

from __future__ import annotations

import asyncio
import math

import pytest

from headwater.embedding.budget import Budget, Need
from headwater.embedding.port import Allowance
from headwater.embedding.sharing.borrower import Borrower
from headwater.embedding.sharing.stake import POOL, START, Stake, Terms, divided
from headwater.model.shares import Division, Member, account_id
from headwater.testing.shares import MemoryShares
from headwater.testing.simulated import SimulatedClock, simulate

IDLE, HUNGRY = Need(0.0, 0.0), Need(0.0, 1.0)
TERMS = Terms.of(60.0)


@pytest.mark.parametrize(
    ("wishes", "shares"),
    [
        ([0.0], [1.0]),
        ([1.0], [1.0]),
        ([0.0, 0.0], [0.5, 0.5]),
        ([1.0, 1.0], [0.5, 0.5]),
        ([1.0, 0.0], [1.0, 0.0]),
        ([0.2, 0.0], [0.6, 0.4]),
        ([1.0, 0.1, 1.0], [0.45, 0.1, 0.45]),
        ([1.0, 0.6], [0.5, 0.5]),
    ],
)
def test_who_wishes_least_is_served_first_and_the_others_share_alike(wishes: list[float], shares: list[float]) -> None:
    due = divided({str(number): wish for number, wish in enumerate(wishes)})
    assert sum(due.values()) == pytest.approx(1 - POOL)
    assert [due[str(number)] for number in range(len(wishes))] == pytest.approx(shares, abs=POOL + START)


def test_fifty_idle_workers_leave_a_busy_one_nearly_all() -> None:
    due = divided({"busy": 1.0, **{f"idle{number}": 0.0 for number in range(49)}})
    assert due["busy"] >= 0.96


def test_an_account_has_one_name_and_its_key_stands_nowhere() -> None:
    name = account_id("openai", "api.openai.com", "sk-secret")
    assert name == account_id("openai", "api.openai.com", "sk-secret")
    assert len(name) == 16
    others = {account_id("openai", "api.openai.com", "sk-other"), account_id("openai", "api.openai.co", "msk-secret")}
    assert name not in others
    assert "secret" not in name


def test_the_first_worker_has_all_but_the_pool_once_it_is_written() -> None:
    move = Stake("a", 60.0).decide(Division(), 5.0, IDLE, 5.1)
    assert move.share == 0
    assert move.proposal is not None
    assert (move.proposal.members["a"].share, move.then) == (1 - POOL, 1 - POOL)


def test_what_is_returned_is_only_used_up() -> None:
    mine, other = Member(share=0.9, wish=1.0), Member(share=0.05, wish=1.0)
    use = 0.7000001
    move = Stake("a", 60.0).decide(Division(members={"a": mine, "b": other}), 0.0, Need(use, 1.0), 0.0)
    assert move.proposal is not None
    assert use <= move.proposal.members["a"].share <= use + 1e-6
    assert (move.share, move.then) == pytest.approx(((1 - POOL) / 2, (1 - POOL) / 2))


def test_the_pool_is_not_borrowed() -> None:
    mine, other = Member(share=0.3, wish=1.0), Member(share=0.65)
    move = Stake("a", 60.0).decide(Division(members={"a": mine, "b": other}), 0.0, HUNGRY, 0.0)
    assert move.proposal is not None
    assert move.proposal.members["a"].share == pytest.approx(0.35 - POOL, abs=2e-6)


def test_nobody_else_is_touched_but_asked() -> None:
    other = Member(share=0.7, wish=0.3, use=0.2, beat=9)
    move = Stake("a", 60.0).decide(Division(serial=4, members={"b": other}), 0.0, HUNGRY, 0.0)
    assert move.proposal is not None
    assert move.proposal.serial == 4
    assert move.proposal.members["b"] == Member(share=0.7, wish=0.3, use=0.2, beat=9, asked=True)


def test_a_worker_that_was_dropped_and_joins_anew_is_not_taken_for_silent() -> None:
    dropped, watching = Stake("a", 60.0), Stake("b", 60.0)
    before = dropped.decide(Division(), 0.0, IDLE, 0.0).proposal
    assert before is not None
    asked = Member(share=0.5, beat=before.members["a"].beat, asked=True)
    mine = Member(share=0.4, wish=1.0, beat=1)
    watching.decide(Division(serial=1, members={"a": asked, "b": mine}), 0.0, HUNGRY, 0.0)
    # Others dropped it meanwhile; it came back, and was asked again, all before the next look here.
    again = dropped.decide(Division(serial=5), 0.0, IDLE, 0.0).proposal
    assert again is not None
    asked = Member(share=0.5, beat=again.members["a"].beat, asked=True)
    read = Division(serial=6, members={"a": asked, "b": mine})
    proposal = watching.decide(read, 2 * TERMS.ttl_s, HUNGRY, 2 * TERMS.ttl_s).proposal
    assert proposal is None or "a" in proposal.members


def test_who_gives_no_sign_of_life_is_dropped_by_the_clock_of_the_one_that_waits() -> None:
    watching = Stake("b", 60.0)
    read = Division(serial=1, members={"a": Member(share=0.9, asked=True, beat=1), "b": Member(share=0.05, wish=1.0)})
    for now in (100.0, 100.0 + TERMS.ttl_s - 0.1):
        move = watching.decide(read, now, HUNGRY, now)
        assert move.proposal is None or "a" in move.proposal.members
    now = 100.0 + TERMS.ttl_s
    proposal = watching.decide(read, now, HUNGRY, now).proposal
    assert proposal is not None
    assert set(proposal.members) == {"b"}
    assert proposal.members["b"].share == 1 - POOL


def test_a_limit_that_changed_for_one_is_not_written_to_and_fro() -> None:
    read = Division(serial=1, members={"a": Member(share=0.99)}, tokens=1_000)
    assert Stake("a", 60.0).decide(read, 0.0, Need(0.0, 0.0, None, 2_000), 0.0).proposal is None


def test_without_a_share_nothing_goes_even_where_no_limit_is_known() -> None:
    budget = Budget()
    budget.set_share(0.0)
    assert budget.fit(1, 1, 1, 0.0, 0.0).wait_s > 0


def test_a_share_ends_by_itself() -> None:
    budget = Budget(tokens=100, window_s=10.0)
    budget.set_share(0.5, until_s=5.0)
    assert budget.fit(1, 10, 10, 0.0, 4.9).tokens == 10
    assert budget.fit(1, 10, 10, 0.0, 5.0).wait_s > 0


def test_more_than_a_share_waits_for_a_larger_one_and_more_than_the_limit_for_nobody() -> None:
    budget = Budget(tokens=100, window_s=10.0)
    budget.set_share(0.5)
    assert budget.fit(60, 60, 60, 0.0, 0.0).wait_s > 0
    budget.set_share(1 - POOL)
    assert budget.fit(60, 60, 60, 0.0, 0.0).tokens == 60
    assert budget.fit(200, 200, 200, 0.0, 0.0).tokens == 200


def test_who_had_to_wait_wants_everything_for_a_window() -> None:
    budget = Budget(tokens=100, window_s=10.0)
    booking = budget.book(40, 50, 0.0)
    need = budget.need(0.0)
    assert need.use == 0.5
    assert need.wish == pytest.approx(0.55)
    budget.answered(booking, 40, Allowance(), Allowance(), 0.1)
    assert budget.need(0.2).use == 0.4
    assert budget.fit(70, 70, 70, 0.0, 1.0).wait_s > 0
    assert budget.need(10.9).wish == 1.0
    assert budget.need(11.1).wish == 0.0


def test_a_borrower_looks_decides_and_writes_and_leaves() -> None:
    async def main() -> None:
        shares, clock, budget = MemoryShares(), SimulatedClock(), Budget(tokens=100)
        borrower = Borrower(shares, "account", "me", budget, clock)
        assert budget.tokens.share == 0
        running = asyncio.create_task(borrower.run())
        await clock.sleep(3.0)
        assert budget.tokens.share == 1 - POOL
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await borrower.leave()
        assert budget.tokens.share == 0
        assert (await shares.read("account")).members == {"me": Member(share=0.0, beat=2, asked=True)}

    simulate(main)


def test_the_nearest_limit_is_what_is_told_and_what_is_known_stays() -> None:
    budget = Budget(requests=4, tokens=1_000)
    budget.book(10, 10, 0.0)
    assert budget.need(0.0).use == 0.25
    budget.learn(9, 9)
    assert (budget.requests.limit, budget.tokens.limit) == (4, 1_000)


def test_a_worker_of_its_own_has_no_end_to_its_share() -> None:
    budget = Budget(tokens=100)
    assert budget.fit(1, 10, 10, 0.0, 1e12).tokens == 10
    assert math.isinf(budget._until_s)
