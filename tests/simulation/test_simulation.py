"""The simulation as a test: no schedule violates a guarantee, and each safeguard is needed for that."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.histories import Safeguard
from tests.simulation.safeguards import SAFEGUARDS
from tests.simulation.schedule import run
from tests.simulation.world import FAULTS, World

SCHEDULES = 2_000
PART = 250
#: A safeguard that is off must be noticed within so many schedules.
PATIENCE = 1_200


@pytest.mark.parametrize("start", range(0, SCHEDULES, PART))
def test_no_schedule_violates_a_guarantee(start: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(start, start + PART):
        world = run(seed)
        counts += world.counts
        assert not world.violations, f"seed {seed}: {world.violations}\n" + "\n".join(world.history)
    never = [fault for fault in FAULTS if not counts[fault]]
    assert not never, f"these faults never occurred, so nothing was shown about them: {never}"
    print(
        f"seeds {start}..{start + PART - 1}: no violation; " + ", ".join(f"{k} {v}" for k, v in sorted(counts.items()))
    )


@pytest.mark.parametrize("seed", [3, 77, 432])
def test_one_seed_has_one_history(seed: int) -> None:
    first, second = run(seed), run(seed)
    assert first.history == second.history
    assert first.counts == second.counts
    assert _index(first) == _index(second)


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda it: it.name.replace(" ", "-"))
def test_without_this_safeguard_a_guarantee_is_violated(safeguard: Safeguard, monkeypatch: pytest.MonkeyPatch) -> None:
    safeguard.off(monkeypatch)
    for seed in range(safeguard.first_seed, safeguard.first_seed + PATIENCE):
        world = run(seed)
        found = [it for it in world.violations if it.startswith(safeguard.broken + " ")]
        if found:
            faults = ", ".join(f"{name} {count}" for name, count in sorted(world.counts.items()) if count)
            print(f"without «{safeguard.name}»: seed {seed} violates {found[0]} ({faults})")
            return
    pytest.fail(f"nobody noticed in {PATIENCE} schedules that «{safeguard.name}» is off")


def _index(world: World) -> object:
    return [
        (
            key,
            sorted((document, str(manifest)) for document, manifest in space.manifests.items()),
            sorted((document, sorted(rows)) for document, rows in space.rows.items()),
        )
        for key, space in world.tables._spaces.items()
    ]
