"""Shares in the control topic against the contract of the port, on a real broker, beside the registry."""

from __future__ import annotations

import asyncio

import pytest

from headwater.log.kafka_shares import KafkaShares
from headwater.model.registry import StreamState
from headwater.model.shares import Division
from headwater.testing.shares_contract import SharesContract
from tests.integration.kafka.logs import Logs
from tests.kafka.client import Kafka


class TestKafkaShares(SharesContract):
    @pytest.fixture(autouse=True)
    def _log(self, kafka: Kafka) -> None:
        self.logs = Logs(kafka)
        self.logs.make()

    def shares(self) -> KafkaShares:
        return self.logs.log().shares()

    def test_it_and_the_registry_read_past_each_other(self) -> None:
        async def scenario() -> None:
            shares, registry = self.shares(), self.logs.registry()
            try:
                assert await registry.advance("a", StreamState(recipe=1))
                assert await shares.advance("a", Division(tokens=5))
                assert await registry.advance("a", StreamState(serial=1, recipe=2))
                assert await shares.advance("a", Division(serial=1, tokens=6))
                assert (await registry.read("a")).recipe == 2
                assert (await shares.read("a")).tokens == 6
            finally:
                await shares.close()
                await registry.close()

        asyncio.run(scenario())
