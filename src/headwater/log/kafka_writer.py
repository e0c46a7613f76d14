"""Appending changes to a topic, and the positions of sources that move with them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

from confluent_kafka.cimpl import Message

from headwater.clock import Clock, Ids
from headwater.errors import Halt
from headwater.log.kafka_client import Connection
from headwater.log.kafka_follower import Appender, Follower, Outgo
from headwater.log.kafka_records import CONTENT_TYPE, Step, Steps, encode_step
from headwater.log.port import SourcePosition
from headwater.model.change import Outgoing


class KafkaWriter:
    """A LogWriter.

    Changes go first, and the source's step after them: when it is interrupted between the two, they come a second time,
    which is free of effect. Of two instances of a source the slower one may have appended changes before it is refused:
    they are what the source held, and any newer ones come after them.
    """

    def __init__(self, connection: Connection, topic: str, positions: str, clock: Clock, ids: Ids) -> None:
        self._topic = topic
        self._positions = positions
        self._ids = ids
        self._steps = Steps()
        self._follower = Follower(connection, positions, clock, self._fold)
        self._appender = Appender(connection)

    def __repr__(self) -> str:
        return f"KafkaWriter({self._topic!r})"

    def _fold(self, message: Message) -> None:
        self._steps.take(message.value() or b"")

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        if position is not None:
            await self._follower.catch_up()
            self._refuse(position)
        if changes:
            records: list[Outgo] = [(change.key, change.value, [*change.headers]) for change in changes]
            await self._appender.append(self._topic, records)
        if position is not None:
            await self._step(position)

    async def _step(self, position: SourcePosition) -> None:
        writer = self._ids.identity()
        entries = {b64encode(key).decode(): value for key, value in position.entries.items()}
        step = Step(position.source, position.serial, writer, entries)
        record = (position.source.encode(), encode_step(step), [CONTENT_TYPE])
        await self._appender.append(self._positions, [record])
        await self._follower.catch_up()
        if not self._steps.won(writer):
            self._refuse(position)

    def _refuse(self, position: SourcePosition) -> None:
        stored = self._steps.serial(position.source)
        if stored != position.serial:
            raise Halt(
                "snapshot-race",
                f"source {position.source} stands at {stored}, not at {position.serial}",
                "Another instance of this source is at work: stop one of them",
            )

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        await self._follower.catch_up()
        return self._steps.serial(source), {b64decode(key): value for key, value in self._steps.entries(source)}

    async def close(self) -> None:
        await self._follower.close()
        await self._appender.close()
