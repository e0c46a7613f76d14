"""Each call at each I/O boundary fails once, before or after it was carried out: the work is done all the same."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from headwater.engine.supervisor import End
from headwater.testing.simulated import simulate
from tests.failures.faults import BOUNDARIES, WRITES, Fault
from tests.failures.world import STREAM, Memory, Sqlite, World

#: So many calls of one kind are far more than the workload makes.
MOST = 200


async def play(world: World, fault: Fault, prepare: Callable[[World], Awaitable[None]]) -> list[str]:
    """Run the workload with this fault; return what is wrong then."""
    await prepare(world)
    ended = await world.work(fault)
    wrong = await world.violations()
    if ended.end is not End.DONE:
        wrong.append(f"the worker ended as {ended.end}: {ended.reason}")
    return wrong


#: What is called in a scenario; each boundary at least in one of them.
SCENARIOS = {
    "first_run": {"Registry.advance", "IndexCatalogue.create", "Embedder.embed", "IndexWriter.apply"},
    "lose_index": set(BOUNDARIES) - {"Registry.advance", "IndexCatalogue.adopt"},
    "replace_log": set(BOUNDARIES) - {"IndexCatalogue.create", "Ledger.dead", "Embedder.embed"},
}


def cases() -> list[tuple[str, bool, str]]:
    """Every boundary, early and (where that differs) late, in the scenarios in which it is called."""
    return [
        (boundary, late, scenario)
        for boundary in BOUNDARIES
        for late in ((False, True) if boundary in WRITES else (False,))
        for scenario, called in SCENARIOS.items()
        if boundary in called
    ]


def each_call(run: Callable[[Fault], list[str]], boundary: str, *, late: bool) -> int:
    """Let the first call fail, then the second, until there are no more; return how many there were."""
    for nth in range(1, MOST):
        fault = Fault(boundary, nth, late=late)
        wrong = run(fault)
        assert wrong == [], f"call {nth} of {boundary} failed {'late' if late else 'early'}"
        if not fault.struck:
            return nth - 1
    raise AssertionError(f"{boundary} is called without end")


@pytest.mark.parametrize(("boundary", "late", "prepare"), cases())
def test_in_memory(boundary: str, late: bool, prepare: str) -> None:
    def run(fault: Fault) -> list[str]:
        return simulate(lambda: play(World(Memory()), fault, getattr(World, prepare)))

    assert each_call(run, boundary, late=late) > 0, "a fault that never strikes shows nothing"


@pytest.mark.parametrize(("boundary", "late", "prepare"), cases())
def test_in_sqlite_files(boundary: str, late: bool, prepare: str) -> None:
    def run(fault: Fault) -> list[str]:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            return asyncio.run(play(World(Sqlite(Path(folder))), fault, getattr(World, prepare)))

    assert each_call(run, boundary, late=late) > 0, "a fault that never strikes shows nothing"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("boundary", ["Registry.read", "Registry.advance"])
def test_pausing_in_memory(boundary: str, late: bool) -> None:
    """So many are rejected that the stream pauses, and that is what cannot be written down at first."""

    async def pausing(fault: Fault) -> list[str]:
        world = World(Memory())
        await world.poison(25)
        ended = await world.work(fault)
        registry = world.adapters.log.registry()
        paused = (await registry.read(STREAM)).paused
        return [] if ended.end is End.PAUSED and "were rejected" in paused else [f"{ended}, {paused!r}"]

    def run(fault: Fault) -> list[str]:
        return simulate(lambda: pausing(fault))

    assert each_call(run, boundary, late=late) > 1, "a fault that never strikes shows nothing"
