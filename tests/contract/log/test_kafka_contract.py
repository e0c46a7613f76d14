"""The log on Kafka against the contract of the ports, on a real broker.

Two readers of one group share the partitions, so that a zombie is made by the group's own fence: two members of one
name, of which the broker expels the older.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from headwater.errors import Lost, Reject
from headwater.log.kafka_reader import Membership
from headwater.model.change import Outgoing
from headwater.model.receipt import Settlement, Usage
from headwater.testing.log_bench import Bench, offsets, played, receipt
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
        log = Logs(self.kafka)
        # More than one batch of the client, and then a change that the topic does not take.
        changes = [Outgoing(b"%d" % number, os.urandom(10_000)) for number in range(150)]
        too_large = Outgoing(b"b", os.urandom(2_000_000))

        async def scenario() -> None:
            writer, history = log.writer(), log.history()
            try:
                with pytest.raises(Reject):
                    await writer.append([*changes, too_large])
                assert (await history.watermarks())[0].high == 0
            finally:
                await writer.close()
                await history.close()

        asyncio.run(scenario())


class TestPlainReceipts(Kept, SettleContract):
    """Receipts without transactions: they go first, and only the offsets after them are fenced."""

    membership = Membership(receipts="plain")

    @played
    async def test_a_zombie_writes_nothing(self, bench: Bench) -> None:
        """Not so here: its receipts may stay, and count once all the same. Its offsets do not."""
        (record,) = await bench.fill("a")
        zombie, heir = bench.line(2)
        await bench.drain(zombie)
        assert offsets(await bench.drain(heir)) == [0]
        with pytest.raises(Lost):
            await zombie.settle(Settlement({0: 1}, (receipt(record),), Usage(1, 1, 1, 1)))
        assert (await bench.history().watermarks())[0].committed == 0
        await heir.settle(Settlement({0: 1}, (receipt(record),), Usage(1, 1, 1, 1)))
        totals = await bench.ledger().totals()
        assert (totals.outcomes, totals.usage) == ({"indexed": 1}, Usage(1, 1, 1, 1))
