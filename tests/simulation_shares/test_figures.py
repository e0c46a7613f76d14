"""The figures of sharing hold, each with several seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.simulation_shares import figures

FIGURES: list[tuple[str, Callable[[int], None]]] = [
    *(
        (name, check)
        for name, check in vars(figures).items()
        if getattr(check, "__module__", "") == figures.__name__ and name != "played"
    ),
    ("an_answer_may_come_late, to a write", partial(figures.an_answer_may_come_late, to="write")),
    *(
        (
            f"who_is_out_of_reach, {how}",
            partial(figures.who_is_out_of_reach_is_dropped_and_stopped_a_window_before, how=how),
        )
        for how in ("mute", "stale")
    ),
    ("all_traffic_on_one_of_two, a minute", partial(figures.all_traffic_on_one_of_two, window_s=60.0)),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("figure", [check for _, check in FIGURES], ids=[name for name, _ in FIGURES])
def test_it_holds(figure: Callable[[int], None], seed: int) -> None:
    figure(seed)
