"""Two workers lend each other their shares of an account through a real broker, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headwater.clock import SystemClock
from headwater.embedding.budget import Budget
from headwater.embedding.port import Allowance
from headwater.embedding.sharing.borrower import Borrower
from tests.integration.kafka.logs import Logs
from tests.kafka.client import Kafka

ACCOUNT = "account"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


async def busy(budget: Budget) -> None:
    """Send all that the budget lets through."""
    clock = SystemClock()
    while True:
        fit = budget.fit(1, 20, 20, 0.0, clock.monotonic())
        if fit.wait_s > 0:
            await asyncio.sleep(min(fit.wait_s, 0.05))
            continue
        booking = budget.book(int(fit.tokens), fit.tokens, clock.monotonic())
        await asyncio.sleep(0.002)
        budget.answered(booking, int(fit.tokens), Allowance(), Allowance(), clock.monotonic())


def test_shares_go_where_the_traffic_is_and_come_back(kafka: Kafka) -> None:
    logs = Logs(kafka)
    logs.make()

    async def scenario() -> None:
        workers = []
        for name in ("one", "other"):
            shares, budget = logs.log().shares(), Budget(tokens=2_000, window_s=2.0)
            workers.append((shares, budget, Borrower(shares, ACCOUNT, name, budget, SystemClock())))
        (log, one, first), (_, other, second) = workers
        tasks = [asyncio.create_task(borrower.run()) for _, _, borrower in workers]
        try:
            await until(lambda: min(one.tokens.share, other.tokens.share) > 0.4)
            tasks.append(asyncio.create_task(busy(one)))
            await until(lambda: one.tokens.share > 0.95)
            tasks.append(asyncio.create_task(busy(other)))
            await until(lambda: 0.4 < one.tokens.share < 0.55 and 0.4 < other.tokens.share < 0.55)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await first.leave()
            await second.leave()
            members = (await log.read(ACCOUNT)).members
            for shares, _, _ in workers:
                await shares.close()
        assert all(it.asked for it in members.values())
        assert sum(it.share for it in members.values()) <= 1

    asyncio.run(scenario())
