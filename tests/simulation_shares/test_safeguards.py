"""Each safeguard, switched off, is noticed: in a history, or by a figure. Product code has no switches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import pytest

from headwater.embedding import budget as budgets
from headwater.embedding.budget import Budget, Need
from headwater.embedding.sharing import stake
from headwater.embedding.sharing.borrower import Borrower
from headwater.embedding.sharing.stake import Move, Stake, Terms
from headwater.model.shares import Division, Member
from headwater.testing.shares import MemoryShares
from tests.simulation_shares import figures
from tests.simulation_shares.schedule import run
from tests.simulation_shares.world import Worker

Off = Callable[[pytest.MonkeyPatch], None]
#: Seeds that are tried until one notices.
PATIENCE = 60


def _lent_while_it_counts(patch: pytest.MonkeyPatch) -> None:
    real = Stake._aim

    def aim(self: Stake, others: Mapping[str, Member], held: float, need: Need) -> tuple[float, float]:
        return real(self, others, held, msgspec.structs.replace(need, use=0.0))

    patch.setattr(Stake, "_aim", aim)


def _moved(change: Callable[[Division, Stake, Move], Move]) -> Off:
    def off(patch: pytest.MonkeyPatch) -> None:
        real = Stake.decide

        def decide(self: Stake, read: Division, asked_s: float, need: Need, now: float) -> Move:
            return change(read, self, real(self, read, asked_s, need, now))

        patch.setattr(Stake, "decide", decide)

    return off


def _in_the_log_first(read: Division, it: Stake, move: Move) -> Move:
    mine = read.members.get(it._member)
    return msgspec.structs.replace(move, share=mine.share if mine else 0.0)


def _used_before_it_is_won(read: Division, it: Stake, move: Move) -> Move:
    return msgspec.structs.replace(move, share=max(move.share, move.then))


def _lease_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    real = Stake.decide
    patch.setattr(Stake, "decide", lambda self, read, asked_s, need, now: real(self, read, now, need, now))


def _lease_from_the_end_of_a_write(patch: pytest.MonkeyPatch) -> None:
    async def look(self: Borrower) -> None:
        asked = self._clock.monotonic()
        read = await self._shares.read(self._account)
        now = self._clock.monotonic()
        move = self._stake.decide(read, asked, self._budget.need(now), now)
        self._budget.set_share(move.share, move.until_s)
        if move.proposal is not None and await self._shares.advance(self._account, move.proposal):
            self._budget.set_share(move.then, self._stake.renewed(self._clock.monotonic()))

    patch.setattr(Borrower, "look", look)


def _renewed_although_asked(patch: pytest.MonkeyPatch) -> None:
    real = Stake.decide

    def decide(self: Stake, read: Division, asked_s: float, need: Need, now: float) -> Move:
        if self._member in read.members:
            self.renewed(asked_s)
        return real(self, read, asked_s, need, now)

    patch.setattr(Stake, "decide", decide)


def _never_ends(patch: pytest.MonkeyPatch) -> None:
    real = Budget.set_share
    patch.setattr(Budget, "set_share", lambda self, share, until_s=math.inf: real(self, share))


def _short_wait(patch: pytest.MonkeyPatch) -> None:
    real = Terms.of.__func__  # type: ignore[attr-defined]  # a class method's function

    def of(cls: type[Terms], window_s: float) -> Terms:
        terms: Terms = real(cls, window_s)
        return msgspec.structs.replace(terms, ttl_s=terms.lease_s * stake.MARGIN)

    patch.setattr(Terms, "of", classmethod(of))


def _all_won(patch: pytest.MonkeyPatch) -> None:
    real = Worker.advance

    async def advance(self: Worker, account: str, division: Division) -> bool:
        await real(self, account, division)
        return True

    patch.setattr(Worker, "advance", advance)


def _last_write_wins(patch: pytest.MonkeyPatch) -> None:
    async def advance(self: MemoryShares, account: str, division: Division) -> bool:
        before = self._divisions.get(account, Division())
        self._divisions[account] = msgspec.structs.replace(division, serial=before.serial + 1)
        return True

    patch.setattr(MemoryShares, "advance", advance)


def _everything_from_the_start(patch: pytest.MonkeyPatch) -> None:
    real = Borrower.__init__

    def init(self: Borrower, *args: Any) -> None:
        real(self, *args)
        self._budget.set_share(1.0)

    patch.setattr(Borrower, "__init__", init)


def _left_with_nothing(patch: pytest.MonkeyPatch) -> None:
    real = Stake.leave
    patch.setattr(Stake, "leave", lambda self, read, need: real(self, read, msgspec.structs.replace(need, use=0.0)))


def _kept_what_was_lent(patch: pytest.MonkeyPatch) -> None:
    real = Stake._aim

    def aim(self: Stake, others: Mapping[str, Member], held: float, need: Need) -> tuple[float, float]:
        due, share = real(self, others, held, need)
        return max(due, held), max(share, held)

    patch.setattr(Stake, "_aim", aim)


def replaced(owner: Any, name: str, value: Any) -> Off:
    return lambda patch: patch.setattr(owner, name, value)


@dataclass(frozen=True)
class Safeguard:
    name: str
    off: Off
    check: Callable[[int], None] | None = None


SAFEGUARDS = [
    Safeguard("what still counts is not lent", _lent_while_it_counts),
    Safeguard("less is used before the log says so", _moved(_in_the_log_first)),
    Safeguard(
        "more is used only after the log says so",
        _moved(_used_before_it_is_won),
        figures.what_two_would_take_goes_to_the_one_that_writes_it,
    ),
    Safeguard(
        "a write in doubt may come to pass",
        replaced(Stake, "_kept", lambda self, read: 1.0),
        figures.a_write_that_seemed_to_fail_may_come_to_pass,
    ),
    Safeguard("a lost race changes nothing", _all_won),
    Safeguard("the first write wins", _last_write_wins),
    Safeguard("a lease ends by itself", _never_ends, figures.who_was_stopped_finds_out_before_it_sends),
    Safeguard("a lease counts from before the read", _lease_from_the_answer, figures.an_answer_may_come_late),
    Safeguard(
        "a lease counts from before the write",
        _lease_from_the_end_of_a_write,
        partial(figures.an_answer_may_come_late, to="write"),
    ),
    Safeguard(
        "who is asked has to write",
        _renewed_although_asked,
        partial(figures.who_is_out_of_reach_is_dropped_and_stopped_a_window_before, how="mute"),
    ),
    Safeguard(
        "who is dropped stopped a window ago",
        _short_wait,
        figures.who_is_out_of_reach_is_dropped_and_stopped_a_window_before,
    ),
    Safeguard(
        "reads may be old",
        replaced(stake, "STALE_S", 0.0),
        partial(figures.who_is_out_of_reach_is_dropped_and_stopped_a_window_before, how="stale"),
    ),
    Safeguard("nothing goes before there is a share", _everything_from_the_start),
    Safeguard("who leaves keeps what still counts", _left_with_nothing),
    Safeguard("the silent are dropped", replaced(Stake, "_silent", lambda self, name, now: False)),
    Safeguard("what was lent comes back", _kept_what_was_lent),
    Safeguard(
        "a wish is told",
        replaced(Budget, "need", lambda self, now: Need(max(self.requests.use(now), self.tokens.use(now)), 0.0)),
        figures.all_traffic_on_one_of_two,
    ),
    Safeguard(
        "a share that grew is noticed",
        replaced(budgets, "LENT_S", math.inf),
        partial(figures.all_traffic_on_one_of_two, window_s=60.0),
    ),
    Safeguard(
        "a little is left for newcomers",
        replaced(stake, "POOL", 0.0),
        figures.a_restarted_worker_begins_with_a_little_and_has_all_later,
    ),
    Safeguard(
        "everybody keeps something to start with",
        replaced(stake, "START", 0.0001),
        figures.who_lent_gets_it_back_within_two_windows,
    ),
    Safeguard(
        "limits are told",
        replaced(Budget, "learn", lambda self, requests, tokens: None),
        figures.a_limit_that_one_learnt_holds_for_all,
    ),
]


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda safeguard: safeguard.name)
def test_without_it_something_is_noticed(safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch) -> None:
    safeguard.off(monkeypatch)
    if safeguard.check is not None:
        with pytest.raises(AssertionError):
            several(safeguard.check)
        return
    assert any(run(seed).violations for seed in range(PATIENCE)), f"not in {PATIENCE} histories"


def several(check: Callable[[int], None]) -> None:
    for seed in range(3):
        check(seed)
