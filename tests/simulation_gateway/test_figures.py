"""The figures hold, each with several seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.simulation_gateway import figures

CHECKS: list[Callable[[int], None]] = [
    figures.full_speed,
    figures.full_speed_though_latency_scatters,
    figures.full_speed_of_a_service_that_turns_calls_away,
    figures.no_queue_grows_before_the_service,
    figures.growing_and_shrinking_capacity_is_followed,
    *(partial(figures.a_token_budget_is_used_and_kept, fixed=f, says=s) for f in (True, False) for s in (True, False)),
    *(partial(figures.a_token_budget_is_used_and_kept, fixed=f, says=True, exact=True) for f in (True, False)),
    *(partial(figures.a_request_budget_is_used_and_kept, fixed=fixed) for fixed in (True, False)),
    figures.the_first_call_asks_for_the_limits,
    figures.what_others_use_of_the_account_is_left_to_them,
    figures.denser_texts_do_not_break_a_budget,
    figures.a_reset_that_comes_late_is_not_believed_twice,
    *(
        partial(figures.an_unsaid_limit_is_found, fixed=fixed, says_after=says, window_s=window)
        for fixed in (True, False)
        for says in (True, False)
        for window in (1, 5)
    ),
    figures.nothing_goes_before_the_time_that_was_named,
    figures.failing_calls_cost_their_repeats_only,
    figures.a_batch_goes_again_as_it_was,
    figures.retries_are_a_tenth_of_the_requests_at_most,
    figures.a_service_that_is_away_is_left_alone_and_found_again,
    figures.live_texts_keep_their_freshness_with_a_reserve,
    figures.live_texts_wait_for_one_batch_without_a_reserve,
    figures.live_texts_find_tokens_left,
    *(partial(figures.replay_gets_its_minimum, load=load) for load in (0.95, 1.2)),
    figures.a_lane_passed_over_gets_its_turn,
    figures.streams_share_by_tokens,
    figures.an_idle_stream_waits_for_nothing,
    figures.a_busy_stream_fills_its_batches,
    figures.no_call_is_over_a_limit,
]


def name(check: Callable[[int], None]) -> str:
    if isinstance(check, partial):
        return f"{check.func.__name__}({', '.join(f'{key}={value}' for key, value in check.keywords.items())})"
    return check.__name__


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("check", CHECKS, ids=name)
def test_the_figure_holds(check: Callable[[int], None], seed: int) -> None:
    check(seed)
