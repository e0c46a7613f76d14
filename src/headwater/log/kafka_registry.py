"""The registry in the control topic: all workers follow it, and the first record whose expected state holds wins."""

from __future__ import annotations

import msgspec
from confluent_kafka.cimpl import Message

from headwater.clock import Clock, Ids
from headwater.log.kafka_client import Connection
from headwater.log.kafka_follower import Appender, Follower
from headwater.log.kafka_records import CONTENT_TYPE, Agreed, SecretRecord, StreamRecord, encode_control
from headwater.model.registry import StreamState


class KafkaRegistry:
    """A Registry; and what keys the digests of document ids."""

    def __init__(self, connection: Connection, topic: str, clock: Clock, ids: Ids) -> None:
        self._topic = topic
        self._ids = ids
        self._agreed = Agreed()
        self._follower = Follower(connection, topic, clock, self._fold)
        self._appender = Appender(connection)

    def __repr__(self) -> str:
        return f"KafkaRegistry({self._topic!r})"

    def _fold(self, message: Message) -> None:
        self._agreed.take(message.value() or b"")

    async def read(self, stream: str) -> StreamState:
        await self._follower.catch_up()
        return self._agreed.states.get(stream, StreamState())

    async def advance(self, stream: str, state: StreamState) -> bool:
        if (await self.read(stream)).serial != state.serial:
            return False
        after = msgspec.structs.replace(state, serial=state.serial + 1)
        writer = self._ids.identity()
        await self._append(stream, StreamRecord(stream, state.serial, writer, after))
        await self._follower.catch_up()
        return self._agreed.won(writer)

    async def secret(self, stream: str) -> bytes:
        """Return what keys the digests of a stream's document ids; it is made when there is none."""
        await self._follower.catch_up()
        if stream not in self._agreed.secrets:
            await self._append(stream, SecretRecord(stream, "", self._ids.secret().hex()))
            await self._follower.catch_up()
        return self._agreed.secrets[stream]

    async def _append(self, stream: str, record: StreamRecord | SecretRecord) -> None:
        await self._appender.append(self._topic, [(stream.encode(), encode_control(record), [CONTENT_TYPE])])

    async def close(self) -> None:
        await self._follower.close()
        await self._appender.close()
