"""What workers agree on about accounts, in the control topic: the first record that builds on a state wins."""

from __future__ import annotations

from confluent_kafka.cimpl import Message

from headwater.clock import Clock, Ids
from headwater.log.kafka_client import Connection
from headwater.log.kafka_follower import Appender, Follower
from headwater.log.kafka_records import CONTENT_TYPE, AgreedShares, SharesRecord, encode_control
from headwater.model.shares import Division


class KafkaShares:
    """A Shares. Workers that are older than its records, and the registry, read past them."""

    def __init__(self, connection: Connection, topic: str, clock: Clock, ids: Ids) -> None:
        self._topic = topic
        self._ids = ids
        self._agreed = AgreedShares()
        self._follower = Follower(connection, topic, clock, self._fold)
        self._appender = Appender(connection)

    def __repr__(self) -> str:
        return f"KafkaShares({self._topic!r})"

    def _fold(self, message: Message) -> None:
        self._agreed.take(message.value() or b"")

    async def read(self, account: str) -> Division:
        await self._follower.catch_up()
        return self._agreed.divisions.get(account, Division())

    async def advance(self, account: str, division: Division) -> bool:
        if (await self.read(account)).serial != division.serial:
            return False
        writer = self._ids.identity()
        value = encode_control(SharesRecord(account, writer, division))
        await self._appender.append(self._topic, [(account.encode(), value, [CONTENT_TYPE])])
        await self._follower.catch_up()
        return self._agreed.won(writer)

    async def close(self) -> None:
        await self._follower.close()
        await self._appender.close()
