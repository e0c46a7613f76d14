"""One schedule, played and judged."""

from __future__ import annotations

from headwater.testing.simulated import simulate
from tests.simulation.judge import Judge
from tests.simulation.world import World


def run(seed: int) -> World:
    """Play one schedule and judge it."""

    async def main() -> World:
        world = World(seed)
        judge = Judge(world)
        world.watch = judge.look  # type: ignore[method-assign]
        await world.play()
        await judge.final()
        for worker in world.workers:
            if worker.task is not None and worker.task.done() and not worker.task.cancelled():
                ended = worker.task.result()
                world.violations.append(f"G12 worker ended: {ended.reason}")
        return world

    return simulate(main)
