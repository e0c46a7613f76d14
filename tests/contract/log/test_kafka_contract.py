"""The log on Kafka against the contract of the ports, on a real broker.

Two readers of one group share the partitions, so that a zombie is made by the group's own fence: two members of one
name, of which the broker expels the older.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from headwater.errors import Reject
from headwater.log.kafka_reader import Membership
from headwater.model.change import Outgoing
from headwater.testing.log_contract import LogContract, SettleContract
from tests.integration.kafka.logs import Logs, OnKafka
from tests.kafka.client import Kafka


class Kept(OnKafka):
    @pytest.fixture(autouse=True)
    def _broker(self, kafka: Kafka) -> None:
        self.reach(kafka)


class TestKafkaLog(Kept, LogContract):
    @pytest.mark.xfail(strict=True, reason="a topic has the partitions that it has: doctor and `topics plan` compare")
    def test_another_number_of_partitions_is_refused(self, tmp_path: Path) -> None:
        super().test_another_number_of_partitions_is_refused(tmp_path)

    @pytest.mark.xfail(strict=True, reason="changes are appended without a transaction: a beginning may stay alone")
    def test_an_append_stays_whole(self, tmp_path: Path) -> None:
        log = Logs(self.kafka, max_message_bytes="10000")

        async def scenario() -> None:
            writer, history = log.writer(), log.history()
            try:
                with pytest.raises(Reject):
                    await writer.append([Outgoing(b"a", b"1"), Outgoing(b"b", os.urandom(20_000))])
                assert (await history.watermarks())[0].high == 0
            finally:
                await writer.close()
                await history.close()

        asyncio.run(scenario())


class TestPlainReceipts(Kept, SettleContract):
    """Receipts without transactions, in a group of the newer protocol."""

    membership = Membership(rebalance="consumer", receipts="plain")
