"""One stream on a real broker, its index in SQLite, the letters of the simulation as its model, and its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.cimpl import NewPartitions

from headwater.clock import SystemClock, SystemDice, SystemIds
from headwater.embedding.courier import Courier
from headwater.engine.loop import Limits
from headwater.engine.stream import StreamPorts
from headwater.engine.supervisor import Ended, Machine, StreamWorker
from headwater.errors import Unreachable
from headwater.indexes.port import IndexWriter, Stored
from headwater.indexes.sqlite import SqliteCatalogue, SqliteIndexReader, SqliteIndexWriter
from headwater.log.codecs import json as codec
from headwater.log.kafka import KafkaLog
from headwater.log.kafka_history import KafkaHistory
from headwater.log.kafka_reader import Membership
from headwater.log.port import LogReader
from headwater.model.change import Outgoing
from headwater.model.receipt import DeadLetter, DeadState, Receipt
from headwater.model.registry import StreamState
from headwater.observability.signals import Event
from headwater.testing.simulated import SeededDice, in_place
from tests.integration.engine.harness import GENERATION, STREAM, Counting
from tests.kafka.client import Kafka, fresh_name
from tests.simulation.world import LetterRecipe


class Closable(Protocol):
    async def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Pipeline:
    """A stream with topics of its own. What it opened is closed with it."""

    def __init__(
        self, kafka: Kafka, folder: Path, *, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        self.kafka = kafka
        self.prefix = fresh_name("gap")
        self.clock = SystemClock()
        self.model = Counting()
        self.events: list[tuple[Event, dict[str, object]]] = []
        self.path = folder / "index.db"
        self.config = dict(config or {})
        self._closing: list[Callable[[], Awaitable[None]]] = []
        self.admin: AdminClient = kafka.admin()
        self.changes = kafka.topic(f"{self.prefix}.{STREAM}.changes", partitions=partitions, config=self.config)
        kafka.topic(f"{self.prefix}.{STREAM}.receipts", partitions=partitions)
        for name in (f"{STREAM}.dead", f"{STREAM}.positions", "control"):
            kafka.topic(f"{self.prefix}.{name}")

    @property
    def group(self) -> str:
        return f"{self.prefix}.{STREAM}"

    def log(self, instance: str | None = None) -> KafkaLog:
        membership = Membership(instance=instance, session_timeout_s=6.0)
        return KafkaLog(
            {"bootstrap.servers": self.kafka.bootstrap},
            self.prefix,
            self.clock,
            SystemIds(),
            membership=membership,
        )

    def worker(
        self,
        *,
        reader: Callable[[LogReader], LogReader] = lambda it: it,
        writer: Callable[[IndexWriter], IndexWriter] = lambda it: it,
        limits: Limits | None = None,
        look_s: float = 0.3,
        control_s: float = 0.1,
        instance: str | None = None,
    ) -> StreamWorker:
        log = self.log(instance)
        ports = StreamPorts(
            name=STREAM,
            open_reader=lambda: reader(log.reader(STREAM, self.group, GENERATION, self.emit)),
            history=self._kept(log.history(STREAM, self.group)),
            ledger=self._kept(log.ledger(STREAM, GENERATION)),
            registry=self._kept(log.registry()),
            catalogue=self._kept(SqliteCatalogue(self.path)),
            writer=writer(self._kept(SqliteIndexWriter(self.path, STREAM, GENERATION))),
            courier=Courier(self.model, self.clock, SystemDice()),
            recipe=LetterRecipe,
            decode=codec.decode,
            offsets_apart=True,
        )
        machine = Machine(
            clock=self.clock,
            dice=SeededDice(1),
            ids=SystemIds(),
            offload=in_place,
            emit=self.emit,
            limits=limits or Limits(poll_wait_s=0.1),
            control_s=control_s,
            look_s=look_s,
            grace_s=2.0,
        )
        return StreamWorker(ports, machine)

    def emit(self, event: Event, fields: dict[str, object]) -> None:
        self.events.append((event, fields))

    async def once(self) -> Ended:
        return await asyncio.wait_for(self.worker().run(once=True), 40)

    # --- the log

    async def say(self, *changes: tuple[str, str | None]) -> None:
        """Append changes: (document, text), None for a delete marker."""
        writer = self.log().writer(STREAM)
        await writer.append([Outgoing(document.encode(), value(document, text)) for document, text in changes])
        await writer.close()

    def put(self, *changes: tuple[str, str | None], partition: int = 0, padding: int = 0, **headers: bytes) -> None:
        """Append changes to a partition, as another system does; None for Kafka's own delete marker."""
        producer = Producer(self.kafka.settings())
        named: list[tuple[str, str | bytes | None]] = [(name.replace("_", "-"), it) for name, it in headers.items()]
        for document, text in changes:
            body = value(document, text, padding) if text is not None else None
            producer.produce(self.changes, body, document.encode(), partition=partition, headers=named)
        assert producer.flush(30) == 0

    async def accept(self) -> None:
        """A person says that the log is the right one."""
        registry = self._kept(self.log().registry())
        state = await registry.read(STREAM)
        assert await registry.advance(STREAM, msgspec.structs.replace(state, accept_epoch=True))

    async def state(self) -> StreamState:
        return await self._kept(self.log().registry()).read(STREAM)

    def trim(self, offset: int, partition: int = 0) -> None:
        """Let the records before an offset go."""
        self._done(self.admin.delete_records([TopicPartition(self.changes, partition, offset)]).values())

    def delete(self) -> None:
        """Let the topic go."""
        self._done(self.admin.delete_topics([self.changes]).values())

    def remake(self, partitions: int = 1) -> None:
        """Make the topic anew under its name, empty."""
        self.delete()
        for _ in range(100):
            with suppress(Exception):
                self.kafka.topic(self.changes, partitions=partitions, config=self.config)
                return
        raise AssertionError("it could not be made anew")

    def configure(self, **settings: str) -> None:
        """Set the topic's settings; underscores stand for dots."""
        entries = [
            ConfigEntry(name.replace("_", "."), it, incremental_operation=AlterConfigOpType.SET)
            for name, it in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, self.changes, incremental_configs=entries)
        self._done(self.admin.incremental_alter_configs([resource]).values())

    def grow(self, partitions: int) -> None:
        self._done(self.admin.create_partitions([NewPartitions(self.changes, partitions)]).values())

    def _done(self, futures: Iterable[Future[Any]]) -> None:
        for future in futures:
            future.result(30)

    def history(self) -> KafkaHistory:
        return self._kept(self.log().history(STREAM, self.group))

    async def committed(self, partition: int = 0) -> int:
        return (await self.history().watermarks())[partition].committed

    # --- what came of it

    async def shown(self) -> dict[str, str]:
        """Return what readers see: the text of each shown document."""
        return {
            it.manifest.id: "".join(it.rows[chunk.digest, chunk.occurrence][0] for chunk in it.manifest.chunks)
            for it in await self.stored()
            if it.manifest.shown
        }

    async def stored(self) -> list[Stored]:
        if not self.path.exists():
            return []
        reader = SqliteIndexReader(self.path, STREAM, GENERATION)
        try:
            return [it async for it in reader.scan()]
        finally:
            await reader.close()

    async def receipts(self, document: str) -> list[Receipt]:
        ledger = self._kept(self.log().ledger(STREAM, GENERATION))
        return await ledger.receipts(document)

    async def outcomes(self, document: str) -> list[tuple[str, str]]:
        return sorted((str(it.version), str(it.outcome)) for it in await self.receipts(document))

    async def letters(self, *states: DeadState) -> list[DeadLetter]:
        ledger = self._kept(self.log().ledger(STREAM, GENERATION))
        return await ledger.dead(frozenset(states or DeadState))

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait for something; the test's own time-out is the only bound."""
        while not await holds():
            await self.clock.sleep(0.05)

    async def until_shown(self, wanted: Mapping[str, str]) -> None:
        while await self._seen() != wanted:
            await self.clock.sleep(0.05)

    async def _seen(self) -> dict[str, str]:
        try:
            return await self.shown()
        except Unreachable:  # the worker has not made the index yet
            return {}

    def heard(self, event: Event) -> list[dict[str, object]]:
        return [fields for it, fields in self.events if it is event]

    async def close(self) -> None:
        for close in reversed(self._closing):
            await close()

    def _kept(self, made: T) -> T:
        self._closing.append(made.close)
        return made


def value(document: str, text: str | None, padding: int = 0) -> bytes:
    body = {"text": text, "tag": 0, "padding": "x" * padding}
    return msgspec.json.encode({"id": document, "op": "delete"} if text is None else {"id": document, "body": body})


def play(pipeline: Pipeline, story: Callable[[Pipeline], Awaitable[None]], within_s: float = 90) -> None:
    """Play a story in real time."""

    async def main() -> None:
        try:
            await asyncio.wait_for(story(pipeline), within_s)
        finally:
            await pipeline.close()

    asyncio.run(main())


def records(texts: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return one change for each text, of a document of its own."""
    return [(f"d{number}", text) for number, text in enumerate(texts)]
