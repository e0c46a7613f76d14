"""The contract of the `Shares` port, for any adapter.

Subclass `SharesContract`, give it the factory method `shares`, and let pytest collect the subclass.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable

import pytest

from headwater.embedding.sharing.port import Shares
from headwater.model.shares import Division, Member

#: Makes the adapter's object once more, as another worker of the same log would. Everything is closed at the end.
Worker = Callable[[], Shares]


class SharesContract:
    """Shares: read, advance, close."""

    @abstractmethod
    def shares(self) -> Shares:
        """Return one more worker's adapter on the log of this test."""

    @pytest.fixture
    def run(self) -> Callable[[Callable[[Worker], Awaitable[None]]], None]:
        def run(scenario: Callable[[Worker], Awaitable[None]]) -> None:
            made: list[Shares] = []

            def worker() -> Shares:
                made.append(self.shares())
                return made[-1]

            async def main() -> None:
                try:
                    await scenario(worker)
                finally:
                    for it in made:
                        await it.close()
                        await it.close()

            asyncio.run(main())

        return run

    def test_an_account_that_nobody_divided_is_empty(self, run: Callable[..., None]) -> None:
        async def scenario(worker: Worker) -> None:
            assert await worker().read("a") == Division()

        run(scenario)

    def test_an_advance_comes_back_whole_to_every_worker(self, run: Callable[..., None]) -> None:
        members = {"x": Member(share=0.123456, use=0.1, wish=1.0, beat=7, asked=True), "y": Member()}

        async def scenario(worker: Worker) -> None:
            one, other = worker(), worker()
            assert await other.read("a") == Division()
            assert await one.advance("a", Division(members=members, requests=500, tokens=1e6))
            for it in (one, other, worker()):
                assert await it.read("a") == Division(serial=1, members=members, requests=500, tokens=1e6)

        run(scenario)

    def test_accounts_are_divided_apart(self, run: Callable[..., None]) -> None:
        async def scenario(worker: Worker) -> None:
            it = worker()
            assert await it.advance("a", Division(tokens=1))
            assert await it.advance("b", Division(tokens=2))
            assert (await it.read("a"), await it.read("b")) == (
                Division(serial=1, tokens=1),
                Division(serial=1, tokens=2),
            )

        run(scenario)

    def test_the_first_advance_from_a_state_wins(self, run: Callable[..., None]) -> None:
        async def scenario(worker: Worker) -> None:
            workers = [worker() for _ in range(4)]
            wishes = [Division(tokens=number) for number in range(4)]
            won = await asyncio.gather(*(it.advance("a", wish) for it, wish in zip(workers, wishes, strict=True)))
            assert sorted(won) == [False, False, False, True]
            for it in workers:
                assert await it.read("a") == Division(serial=1, tokens=won.index(True))

        run(scenario)

    def test_an_advance_from_an_older_or_a_later_state_changes_nothing(self, run: Callable[..., None]) -> None:
        async def scenario(worker: Worker) -> None:
            it = worker()
            assert await it.advance("a", Division(tokens=1))
            assert await it.advance("a", Division(serial=1, tokens=2))
            for serial in (0, 1, 3):
                assert not await it.advance("a", Division(serial=serial, tokens=9))
            assert await it.read("a") == Division(serial=2, tokens=2)

        run(scenario)

    def test_a_read_has_what_came_to_pass_before_it(self, run: Callable[..., None]) -> None:
        async def scenario(worker: Worker) -> None:
            one, other = worker(), worker()
            for serial in range(5):
                assert await one.advance("a", Division(serial=serial, tokens=serial))
                assert (await other.read("a")).serial == serial + 1

        run(scenario)

    def test_one_worker_may_ask_for_several_accounts_at_once(self, run: Callable[..., None]) -> None:
        async def scenario(worker: Worker) -> None:
            it = worker()
            accounts = [f"a{number}" for number in range(5)]
            assert all(await asyncio.gather(*(it.advance(name, Division(tokens=5)) for name in accounts)))
            assert [found.serial for found in await asyncio.gather(*map(it.read, accounts))] == [1] * 5

        run(scenario)
