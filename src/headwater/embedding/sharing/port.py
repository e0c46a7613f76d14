"""The port of what the workers of one log agree on about an account."""

from __future__ import annotations

from typing import Protocol

from headwater.model.shares import Division


class Shares(Protocol):
    """How accounts are divided between the workers of one log. The first write whose expected state holds wins."""

    async def read(self, account: str) -> Division:
        """Return the division of an account, with every advance that came to pass before the call; serial 0 and no
        members before the first. While a log's broker is replaced, one of up to 10 s ago may come, but none older than
        was returned before. Raise Retry when the log is away.
        """
        ...

    async def advance(self, account: str, division: Division) -> bool:
        """Store `division` with serial + 1 if the stored serial is still `division.serial`; tell whether it was.
        Durable.

        False may come in doubt, when a later read tells. Raise Retry when the log is away: it may have come to pass,
        and may still, as long as the stored serial is the same.
        """
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...
