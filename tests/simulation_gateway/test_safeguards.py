"""Each safeguard, switched off, makes the figure miss that it is there for. Product code has no switches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from headwater.embedding import budget, capacity, lanes
from headwater.embedding.batching import Fill, Linger
from headwater.embedding.budget import Budget, Quota
from headwater.embedding.capacity import Capacity
from headwater.embedding.dispatch import Dispatcher
from headwater.embedding.estimate import Estimator
from headwater.embedding.lanes import Lane, Lanes
from headwater.embedding.pace import Pace
from headwater.embedding.port import Allowance
from headwater.embedding.retries import Breaker, RetryBudget
from tests.simulation_gateway import figures

Off = Callable[[pytest.MonkeyPatch], None]


def replaced(owner: Any, name: str, value: Any) -> Off:
    def off(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(owner, name, value)

    return off


def nothing(*_args: Any, **_named: Any) -> None:
    pass


def _uncorrected(patch: pytest.MonkeyPatch) -> None:
    real = Quota.settle
    patch.setattr(Quota, "settle", lambda self, hold, amount, said, now: real(self, hold, hold.amount, said, now))


def _forgotten_after_half_a_window(patch: pytest.MonkeyPatch) -> None:
    real = Quota.settle

    def settle(self: Quota, hold: budget.Hold, amount: float, said: Allowance, now: float) -> None:
        real(self, hold, amount, Allowance(said.limit, said.left, self._window_s / 2), now)

    patch.setattr(Quota, "settle", settle)


def _unheard(patch: pytest.MonkeyPatch) -> None:
    real = Budget.answered

    def answered(self: Budget, booking: budget.Booking, tokens: int, _r: Allowance, _t: Allowance, now: float) -> None:
        real(self, booking, tokens, Allowance(), Allowance(), now)

    patch.setattr(Budget, "answered", answered)


def _first_calls_together(patch: pytest.MonkeyPatch) -> None:
    real = Budget.fit

    def fit(self: Budget, *args: float) -> budget.Fit:
        self._heard = True
        return real(self, *args)

    patch.setattr(Budget, "fit", fit)


def _unhurried(patch: pytest.MonkeyPatch) -> None:
    """A named time is not waited for."""
    real = Budget.refused
    patch.setattr(Budget, "refused", lambda self, booking, after_s, roll, now: real(self, booking, None, roll, now))


def _first_come(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lanes, "order", lambda self, ready, now: sorted(ready, key=lambda lane: self.waiting(lane).since))


def _one_queue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lanes, "QUANTUM", 10**9)


def _packed_anew(patch: pytest.MonkeyPatch) -> None:
    def repeat(self: Dispatcher, lane: Lane, again: Any, keep: float, now: float) -> Any:
        self._again[lane].remove(again)
        for text in again.texts:
            self._lanes.add(text)
        return self._pack(lane, keep, now)

    patch.setattr(Dispatcher, "_repeat", repeat)


@dataclass(frozen=True)
class Safeguard:
    name: str
    off: Off
    check: Callable[[int], None]


kept = figures.a_token_budget_is_used_and_kept

SAFEGUARDS = [
    Safeguard("more at once while latency does not rise", replaced(Capacity, "_grow", nothing), figures.full_speed),
    Safeguard(
        "fewer at once when latency rises",
        replaced(capacity, "TOLERANCE", math.inf),
        figures.no_queue_grows_before_the_service,
    ),
    Safeguard(
        "the least latency is measured anew",
        replaced(capacity, "REFRESH_S", math.inf),
        figures.no_queue_grows_before_the_service,
    ),
    Safeguard(
        "fewer at once when the service is overloaded",
        replaced(Capacity, "overloaded", nothing),
        partial(figures.full_speed_of_a_service_that_turns_calls_away, seconds=4.0),
    ),
    Safeguard(
        "a call counts for a whole window", _forgotten_after_half_a_window, partial(kept, fixed=False, says=False)
    ),
    Safeguard("bookings are corrected by the usage", _uncorrected, partial(kept, fixed=False, says=True)),
    Safeguard("what the service says of its limits", _unheard, partial(kept, fixed=True, says=True)),
    Safeguard("the first call goes alone", _first_calls_together, figures.the_first_call_asks_for_the_limits),
    Safeguard(
        "tokens are counted near a limit",
        replaced(Estimator, "worst", lambda self, size, texts: 0),
        figures.denser_texts_do_not_break_a_budget,
    ),
    Safeguard(
        "a broken word is not trusted again",
        replaced(Quota, "distrust", nothing),
        figures.a_reset_that_comes_late_is_not_believed_twice,
    ),
    Safeguard(
        "the pace that was granted",
        replaced(Pace, "refused", nothing),
        partial(figures.an_unsaid_limit_is_found, fixed=True, says_after=False, window_s=1),
    ),
    Safeguard("Retry-After", _unhurried, figures.nothing_goes_before_the_time_that_was_named),
    Safeguard("retries keep their batches", _packed_anew, figures.a_batch_goes_again_as_it_was),
    Safeguard(
        "the retry budget",
        replaced(RetryBudget, "reserve_s", lambda self, now: 0.0),
        figures.retries_are_a_tenth_of_the_requests_at_most,
    ),
    Safeguard(
        "the breaker",
        replaced(Breaker, "failed", nothing),
        partial(figures.a_service_that_is_away_is_left_alone_and_found_again, away_s=1.0),
    ),
    Safeguard("live goes first", _first_come, figures.live_texts_wait_for_one_batch_without_a_reserve),
    Safeguard(
        "the reserve of calls",
        replaced(Lanes, "kept", lambda self, lane, now: 0.0),
        figures.live_texts_keep_their_freshness_with_a_reserve,
    ),
    Safeguard(
        "the reserve of tokens",
        replaced(Lanes, "kept", lambda self, lane, now: 0.0),
        figures.live_texts_find_tokens_left,
    ),
    Safeguard(
        "replay's minimum",
        replaced(Lanes, "owed", lambda self, now: False),
        partial(figures.replay_gets_its_minimum, load=1.2),
    ),
    Safeguard("aging", replaced(Lanes, "owed", lambda self, now: False), figures.a_lane_passed_over_gets_its_turn),
    Safeguard("streams take turns", _one_queue, figures.streams_share_by_tokens),
    Safeguard(
        "nobody waits while nothing is under way",
        replaced(Linger, "wait_s", lambda self, since, under_way, now: max(0.0, since + 0.05 - now)),
        figures.an_idle_stream_waits_for_nothing,
    ),
    Safeguard(
        "limits of a call",
        replaced(Fill, "add", lambda self, text: self._inside.append(text) or True),
        figures.no_call_is_over_a_limit,
    ),
]


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda safeguard: safeguard.name)
def test_without_it_the_figure_is_missed(safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch) -> None:
    safeguard.off(monkeypatch)
    with pytest.raises(AssertionError):
        several(safeguard.check)


def several(check: Callable[[int], None]) -> None:
    for seed in range(2):
        check(seed)
