"""The simulation as a test: no history breaks a rule, and each safeguard is needed for that."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.histories import Safeguard
from tests.simulation_courier.judge import judged
from tests.simulation_courier.safeguards import SAFEGUARDS
from tests.simulation_courier.weather import Fault, Phase
from tests.simulation_courier.world import run

HISTORIES = 320
PART = 80
#: A safeguard that is off must be noticed within so many histories.
PATIENCE = 1_200
#: Everything that can go wrong; a part in which something never did shows nothing about it.
ALL = {*Fault, *Phase, "Reject", "TooLong", "denied", "dimension", "swapped"}


@pytest.mark.parametrize("start", range(0, HISTORIES, PART))
def test_no_history_breaks_a_rule(start: int) -> None:
    struck: Counter[str] = Counter()
    for seed in range(start, start + PART):
        world = run(seed)
        struck += world.model.struck
        assert not judged(world), f"seed {seed}: {world.weather}"
    assert ALL - {"denied", "dimension", "swapped"} <= set(struck)


def test_everything_that_can_go_wrong_did() -> None:
    # Rare ones, and the seeds that have them.
    struck: Counter[str] = Counter()
    for seed in range(40):
        struck += run(seed).model.struck
    assert set(struck) >= ALL


@pytest.mark.parametrize("seed", [3, 77, 121])
def test_one_seed_has_one_history(seed: int) -> None:
    first, second = run(seed), run(seed)
    assert first.model.seen == second.model.seen
    assert [ended.ended_s for ended in first.ended] == [ended.ended_s for ended in second.ended]


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda it: it.name.replace(" ", "-"))
def test_without_this_safeguard_a_rule_is_broken(safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch) -> None:
    safeguard.off(monkeypatch)
    for seed in range(safeguard.first_seed, safeguard.first_seed + PATIENCE):
        found = [it for it in judged(run(seed)) if it.startswith(f"{safeguard.broken}:")]
        if found:
            print(f"without «{safeguard.name}»: seed {seed}: {found[0]}")
            return
    pytest.fail(f"nobody noticed in {PATIENCE} histories that «{safeguard.name}» is off")
