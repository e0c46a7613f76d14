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
from headwater.log.port import DOUBTFUL, SourcePosition
from headwater.model.change import Outgoing


class KafkaWriter:
    """A LogWriter.

    Changes go first, and the source's step after them: when it is interrupted between the two, they come a second time,
    which is free of effect. Of two instances of a source the slower one may have appended changes before it is refused,
    behind newer ones: it then notes them as doubtful, and the next pass of any instance says again what the source
    holds.
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
            await self._move(position)

    async def _move(self, position: SourcePosition) -> None:
        entries = {b64encode(key).decode(): value for key, value in position.entries.items()}
        if await self._step(position.source, position.serial, entries):
            return
        # What was appended here may be older than what the other instance appended, and stand behind it.
        doubtful: dict[str, bytes | None] = dict.fromkeys(entries, DOUBTFUL)
        while not await self._step(position.source, self._steps.serial(position.source), doubtful):
            await self._follower.catch_up()
        self._refuse(position)

    async def _step(self, source: str, serial: int, entries: dict[str, bytes | None]) -> bool:
        writer = self._ids.identity()
        step = Step(source, serial, writer, entries)
        await self._appender.append(self._positions, [(source.encode(), encode_step(step), [CONTENT_TYPE])])
        await self._follower.catch_up()
        return self._steps.won(writer)

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
