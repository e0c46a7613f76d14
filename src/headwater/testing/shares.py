"""What workers agree on about accounts, in memory: for tests of what shares an account, and of adapters beside it."""

from __future__ import annotations

import msgspec

from headwater.model.shares import Division


class MemoryShares:
    """A Shares of which all that use this object are the workers. Closing it forgets nothing."""

    def __init__(self) -> None:
        self._divisions: dict[str, Division] = {}

    async def read(self, account: str) -> Division:
        return self._divisions.get(account, Division())

    async def advance(self, account: str, division: Division) -> bool:
        if self._divisions.get(account, Division()).serial != division.serial:
            return False
        self._divisions[account] = msgspec.structs.replace(division, serial=division.serial + 1)
        return True

    async def close(self) -> None:
        pass
