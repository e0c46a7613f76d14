"""Keeps one account's budget at the share that this worker may use, by what the workers agree on in the log.

While the log is away the share stays until its lease runs out, and then nothing goes: another worker may have been
given it by then. A stream waits for its log anyway. The lease is the budget's own to keep, so it also ends under a
worker that was stopped, before anything of it runs again. The worker's clock must go on while it is stopped: after a
whole machine was suspended, more may go until the next look. A call that was booked and not yet sent when its worker
was stopped goes when the worker goes on.
"""

from __future__ import annotations

from contextlib import suppress

from headwater.clock import Clock
from headwater.embedding.budget import Budget
from headwater.embedding.sharing.port import Shares
from headwater.embedding.sharing.stake import Stake
from headwater.errors import Retry

#: A write that others were faster than is decided anew so often at once.
TRIES = 5


class Borrower:
    """One worker's part in one account. From its making on nothing goes until `run` has got a share.

    `member` is an identity that no other worker, nor this one before it was started again, ever has.
    """

    def __init__(self, shares: Shares, account: str, member: str, budget: Budget, clock: Clock) -> None:
        self._shares = shares
        self._account = account
        self._budget = budget
        self._clock = clock
        self._stake = Stake(member, budget.window_s)
        budget.set_share(0.0)

    async def run(self) -> None:
        """Look, decide and write, until cancelled. Raise Halt when the log is not what it was."""
        while True:
            # Of a log that is away there is nothing to do: the lease goes on to run out.
            with suppress(Retry):
                await self.look()
            await self._clock.sleep(self._stake.terms.step_s)

    async def look(self) -> None:
        """Look once, and write if there is a reason. Raise Retry when the log is away."""
        for _ in range(TRIES):
            asked = self._clock.monotonic()
            read = await self._shares.read(self._account)
            now = self._clock.monotonic()
            self._budget.learn(read.requests, read.tokens)
            move = self._stake.decide(read, asked, self._budget.need(now), now)
            self._budget.set_share(move.share, move.until_s)
            if move.proposal is None:
                return
            if await self._shares.advance(self._account, move.proposal):
                self._budget.set_share(move.then, self._stake.renewed(now))
                return

    async def leave(self) -> None:
        """Give back what is not used any more; nothing goes from here on. To be called when `run` has ended.

        Raise Retry when the log is away: then the others take it after a while.
        """
        self._budget.set_share(0.0)
        for _ in range(TRIES):
            read = await self._shares.read(self._account)
            proposal = self._stake.leave(read, self._budget.need(self._clock.monotonic()))
            if proposal is None or await self._shares.advance(self._account, proposal):
                return
