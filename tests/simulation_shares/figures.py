"""What sharing an account achieves, in simulated time: figures that hold without faults, or under one."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from headwater.embedding.budget import Budget
from headwater.embedding.sharing.borrower import Borrower
from headwater.embedding.sharing.stake import STALE_S, Terms
from headwater.testing.shares import MemoryShares
from headwater.testing.simulated import SimulatedClock, simulate
from tests.simulation_shares.service import Service
from tests.simulation_shares.world import ACCOUNT, World

WINDOW_S = 5.0
TTL_S = Terms.of(WINDOW_S).ttl_s


def played(
    seed: int, story: Callable[[World], Awaitable[None]], window_s: float = WINDOW_S, tokens: int = 1_000
) -> World:
    world = World(Service(10_000, tokens, window_s), seed)
    simulate(lambda: story(world))
    assert not world.log.violations
    assert all(peak <= 1 + 1e-9 for peak in world.service.peaks().values()), world.service.peaks()
    return world


def all_traffic_on_one_of_two(seed: int, window_s: float = WINDOW_S) -> None:
    async def story(world: World) -> None:
        busy, _idle = world.join(), world.join(0.0)
        await asyncio.sleep(2 * window_s)
        since = world.now
        await asyncio.sleep(5 * window_s)
        assert world.service.filled(since + window_s, world.now, busy.name) >= 0.93

    played(seed, story, window_s)


def who_lent_gets_it_back_within_two_windows(seed: int) -> None:
    async def story(world: World) -> None:
        borrower, lender = world.join(), world.join(0.0)
        await asyncio.sleep(4 * WINDOW_S)
        lender.load = math.inf
        began = world.now
        await asyncio.sleep(0.6)
        assert world.service.sent(began, world.now, lender.name) > 0, "it had something to start with"
        await asyncio.sleep(2 * WINDOW_S - 0.6)
        since = world.now
        await asyncio.sleep(4 * WINDOW_S)
        for worker in (lender, borrower):
            assert 0.44 <= world.service.filled(since, world.now, worker.name) <= 0.53

    played(seed, story, tokens=20_000)


def a_newcomer_has_its_share_within_two_windows(seed: int) -> None:
    async def story(world: World) -> None:
        for _ in range(2):
            world.join()
        await asyncio.sleep(4 * WINDOW_S)
        newcomer = world.join()
        await asyncio.sleep(2 * WINDOW_S)
        since = world.now
        await asyncio.sleep(4 * WINDOW_S)
        assert world.service.filled(since, world.now, newcomer.name) >= 0.28
        assert world.service.filled(since, world.now) >= 0.9

    played(seed, story)


def a_dead_workers_share_comes_back(seed: int) -> None:
    async def story(world: World) -> None:
        heir, dead = world.join(), world.join()
        await asyncio.sleep(4 * WINDOW_S)
        dead.kill()
        # It asks at once, having heard nothing for so long; then it waits as long again.
        await asyncio.sleep(2 * TTL_S + 2 * WINDOW_S)
        since = world.now
        await asyncio.sleep(2 * WINDOW_S)
        assert world.service.filled(since, world.now, heir.name) >= 0.93

    played(seed, story)


def who_left_leaves_its_share_at_once(seed: int) -> None:
    async def story(world: World) -> None:
        heir, other = world.join(), world.join(1.0)
        await asyncio.sleep(4 * WINDOW_S)
        other.kill()
        await other.leave()
        since = world.now
        heir.load = math.inf
        await asyncio.sleep(2 * WINDOW_S)
        assert world.service.filled(since + WINDOW_S, world.now, heir.name) >= 0.9
        await asyncio.sleep(TTL_S)
        assert set((await world.log.read(ACCOUNT)).members) == {heir.name}

    played(seed, story)


def a_restarted_worker_begins_with_a_little_and_has_all_later(seed: int) -> None:
    async def story(world: World) -> None:
        first = world.join()
        await asyncio.sleep(2 * WINDOW_S)
        first.kill()
        heir = world.join()
        began = world.now
        await asyncio.sleep(2 * WINDOW_S)
        assert world.service.sent(began, world.now, heir.name) > 0
        await asyncio.sleep(TTL_S)
        assert world.service.filled(world.now - WINDOW_S, world.now, heir.name) >= 0.5
        since = world.now
        await asyncio.sleep(2 * WINDOW_S)
        assert world.service.filled(since, world.now, heir.name) >= 0.93

    played(seed, story, tokens=20_000)


def nobody_writes_without_a_reason(seed: int) -> None:
    async def story(world: World) -> None:
        for _ in range(3):
            world.join(0.0)
        await asyncio.sleep(2 * WINDOW_S)
        before = world.log.writes
        await asyncio.sleep(10 * TTL_S)
        assert world.log.writes == before, "idle workers"
        for worker in world.workers:
            worker.load = math.inf
        await asyncio.sleep(2 * WINDOW_S)
        before = world.log.writes
        await asyncio.sleep(10 * TTL_S)
        # All are short: one asks everybody, who answers, and so again after a while.
        assert world.log.writes - before <= 2 * 10 * len(world.workers)

    played(seed, story)


def without_the_log_nothing_goes_after_the_lease(seed: int) -> None:
    lease = Terms.of(WINDOW_S).lease_s

    async def story(world: World) -> None:
        worker = world.join()
        await asyncio.sleep(2 * WINDOW_S)
        worker.cut = True
        began = world.now
        await asyncio.sleep(lease - 1)
        assert world.service.sent(began, world.now, worker.name) > 0, "an outage that is short costs nothing"
        await asyncio.sleep(2)
        since = world.now
        await asyncio.sleep(TTL_S)
        assert world.service.sent(since, world.now, worker.name) == 0
        worker.cut = False
        await asyncio.sleep(1)
        assert world.service.sent(since, world.now, worker.name) > 0

    played(seed, story)


def a_limit_that_one_learnt_holds_for_all(seed: int) -> None:
    async def main() -> None:
        shares, clock = MemoryShares(), SimulatedClock()
        knowing, other = Budget(tokens=1_000, window_s=WINDOW_S), Budget(window_s=WINDOW_S)
        for name, budget in (("knowing", knowing), ("other", other)):
            await Borrower(shares, ACCOUNT, name, budget, clock).look()
        assert (other.requests.limit, other.tokens.limit) == (None, 1_000)

    simulate(main)


def a_write_that_seemed_to_fail_may_come_to_pass(seed: int) -> None:
    async def story(world: World) -> None:
        lender, borrower = world.join(0.0), world.join(0.0)
        await asyncio.sleep(2)
        lender.late_s = 2.0
        borrower.load = math.inf
        await asyncio.sleep(1)
        lender.load = math.inf
        await asyncio.sleep(2)
        lender.late_s = 0.0
        await asyncio.sleep(3 * WINDOW_S)

    played(seed, story)


def an_answer_may_come_late(seed: int, to: str = "read") -> None:
    """What it says was true when it was asked for; since then this worker may have been asked for a sign of life."""

    async def story(world: World) -> None:
        late, _other = world.join(), world.join()
        await asyncio.sleep(3 * WINDOW_S)
        late.last, late.last_s = to, 1.9 * Terms.of(WINDOW_S).lease_s
        if to == "write":
            world.join()  # asks, and has to be answered
        while late.last:
            await asyncio.sleep(0.01)
        world.join()
        await asyncio.sleep(2 * TTL_S)

    played(seed, story)


def who_is_out_of_reach_is_dropped_and_stopped_a_window_before(seed: int, how: str = "cut") -> None:
    """`how` is "mute" for one that still reads, and "stale" for one whose reads are old, at first."""

    async def story(world: World) -> None:
        away, _other = world.join(), world.join()
        # Now and then, all that it may send goes shortly before its lease ends.
        await asyncio.sleep(3 * WINDOW_S + 2 * (seed % 3))
        setattr(away, how, await world.log.read(ACCOUNT))
        world.join()
        await asyncio.sleep(STALE_S - 1)
        away.cut, away.stale = how != "mute", None
        await asyncio.sleep(2 * TTL_S)

    played(seed, story)


def who_was_stopped_finds_out_before_it_sends(seed: int) -> None:
    async def story(world: World) -> None:
        stopped, _other = world.join(), world.join()
        await asyncio.sleep(3 * WINDOW_S)
        stopped.stop()
        world.join()
        await asyncio.sleep(TTL_S + 2 * WINDOW_S)
        stopped.go_on()
        await asyncio.sleep(2 * WINDOW_S)

    played(seed, story)


def what_two_would_take_goes_to_the_one_that_writes_it(seed: int) -> None:
    async def story(world: World) -> None:
        mute, writing, _lender = world.join(0.0), world.join(0.0), world.join(0.0)
        await asyncio.sleep(WINDOW_S)
        mute.mute = True
        mute.load = writing.load = math.inf
        await asyncio.sleep(2 * WINDOW_S)

    played(seed, story)
