"""One seed, one history: workers come, go, are killed, stopped and cut off; then it is calm, and everything is used."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from random import Random

from headwater.embedding.sharing.stake import STALE_S, Terms
from headwater.testing.simulated import simulate
from tests.simulation_shares.service import Service
from tests.simulation_shares.world import ACCOUNT, Faults, Worker, World

WINDOW_S = 5.0
CHAOS_S = 60.0
TERMS = Terms.of(WINDOW_S)
#: Until everybody who is gone was asked, waited for and dropped, and what was lent has come back.
CALM_S = 2 * TERMS.ttl_s + 2 * WINDOW_S
MOST = 5
EVENTS = ("join", "leave", "kill", "stop", "cut", "mute", "stale", "load", "load")
FAULTS = (
    "slow",
    "stuck",
    "refused",
    "late",
    "unheard",
    "lost races",
    "join",
    "leave",
    "kill",
    "stop",
    "cut",
    "mute",
    "load",
)


@dataclass
class History:
    world: World
    violations: list[str]


def made(seed: int) -> World:
    random = Random(f"made {seed}")
    fixed, says = random.random() < 0.4, random.random() < 0.4
    service = Service(
        requests=random.choice([12, 10_000]),
        tokens=1_000,
        window_s=WINDOW_S,
        fixed=fixed,
        phase_s=random.uniform(0, WINDOW_S),
        says=says,
    )
    harsh = random.choice([0.0, 0.5, 1.0])
    faults = Faults(0.05 * harsh, 0.004 * harsh, 0.02 * harsh, 0.05 * harsh, 0.05 * harsh)
    return World(service, seed, faults, failing=0.02)


def run(seed: int) -> History:
    world = made(seed)
    return simulate(lambda: _play(world))


async def _play(world: World) -> History:
    for _ in range(world.random.randint(1, 3)):
        world.join(_load(world.random))
    pace = world.random.choice([0.5, 0.15])
    while world.now < CHAOS_S:
        await asyncio.sleep(world.random.expovariate(pace))
        _happen(world, world.random.choice(EVENTS))
    calm = await _calm(world)
    peaks = world.service.peaks()
    above = [f"{name}: {peak:.4f} of the limit in a window" for name, peak in peaks.items() if peak > 1 + 1e-9]
    return History(world, world.log.violations + above + calm)


def _load(random: Random) -> float:
    """Tokens a second; the account has 200."""
    return random.choice([0.0, 0.0, random.uniform(1, 100), math.inf, math.inf])


def _trouble_s(random: Random) -> float:
    return random.choice([0.5, TERMS.lease_s, 1.5 * TERMS.ttl_s, 3 * TERMS.ttl_s]) * random.uniform(0.3, 1.0)


def _happen(world: World, event: str) -> None:
    if event == "join":
        if len(world.alive) < MOST:
            world.join(_load(world.random))
            world.counts[event] += 1
        return
    if not world.alive:
        return
    worker = world.random.choice(world.alive)
    world.counts[event] += 1
    if event == "leave":
        worker.kill()
        world.start(worker.leave())
    elif event == "kill":
        worker.kill()
    elif event == "load":
        worker.load = _load(world.random)
    elif event == "stop":
        worker.stop()
        worker.world.start(_later(_trouble_s(world.random), worker.go_on))
    elif event == "stale":
        world.start(_stale(worker))
    else:
        setattr(worker, event, True)

        def mended() -> None:
            setattr(worker, event, False)

        worker.world.start(_later(_trouble_s(world.random), mended))


async def _stale(worker: Worker) -> None:
    worker.stale = await worker.world.log.read(ACCOUNT)
    await asyncio.sleep(worker.world.random.uniform(1.0, STALE_S - 1.0))
    worker.stale = None


async def _later(seconds: float, what: object) -> None:
    await asyncio.sleep(seconds)
    assert callable(what)
    what()


async def _calm(world: World) -> list[str]:
    """Whatever happened before, the living use the whole account in the end, and share it alike."""
    world.faults = Faults()
    for worker in world.alive:
        worker.cut = worker.mute = False
        worker.go_on()
        worker.load = math.inf
    if not world.alive:
        world.join()
    await asyncio.sleep(CALM_S)
    since = world.now
    await asyncio.sleep(2 * WINDOW_S)
    if world.service.requests < 100:  # then tokens are not what is short
        return []
    whole = world.service.filled(since, world.now)
    bad = [] if whole >= 0.9 else [f"only {whole:.3f} of the account is used in the end"]
    for worker in world.alive:
        part = world.service.filled(since, world.now, worker.name)
        if part < 0.8 / len(world.alive):
            bad.append(f"{worker.name} has only {part:.3f} of the account, one of {len(world.alive)}")
    return bad
