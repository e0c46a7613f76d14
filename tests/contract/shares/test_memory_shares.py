"""Shares in memory against the contract of the port."""

from __future__ import annotations

import pytest

from headwater.testing.shares import MemoryShares
from headwater.testing.shares_contract import SharesContract


class TestMemoryShares(SharesContract):
    @pytest.fixture(autouse=True)
    def _log(self) -> None:
        self.log = MemoryShares()

    def shares(self) -> MemoryShares:
        return self.log
