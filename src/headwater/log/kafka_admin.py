"""Looks at a Kafka, and makes the topics that Headwater needs there."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)
from confluent_kafka.cimpl import Message

from headwater.clock import Clock
from headwater.errors import Unreachable
from headwater.log.health import FoundBrokers, FoundGroup
from headwater.log.kafka_client import KAFKA, Connection, OnThread, Trouble, options, reading, standing, translated
from headwater.log.kafka_follower import Appender, Follower
from headwater.log.kafka_records import CONTENT_TYPE
from headwater.log.topic_plan import TAKEN, Action, Consent, FoundTopic, Step, plan
from headwater.log.topics import StreamLog, TopicSpec, declaration, declared_topics

T = TypeVar("T")

#: A look must not take long: what does not answer within this is away.
LOOK_S = 5.0
NO_CONSENT = Consent()
#: Making a topic takes a cluster longer than telling of one.
_MAKE_S = 30.0
_ROUND_S = 0.02
#: The version of the request for metadata from which on a cluster has a name.
_OLDEST = 2
#: A topic that is asked for only to be answered.
_NOWHERE = "headwater-asks-who-is-there"
#: So often librdkafka's log is looked at for what it says late.
_ROUNDS = 50

_ABSENT = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID})
#: A partition that was just made, or whose leader moves.
_MOVING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        *_ABSENT,
    }
)
#: A leader has moved within this, or stays away.
_MOVE_S = 2.0
_DENIED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_API = re.compile(r"\[thrd:(\S+)\].*ApiKey (\w+?)(?:Request)? \(\d+\) Versions \d+\.\.(\d+)")


class KafkaAdmin:
    """Looks at topics, groups and brokers, and makes topics. Changes nothing but by `take`.

    Every call raises Retry when the brokers do not answer, and Unreachable when they never will.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._trouble = Trouble()
        self._thread = OnThread("kafka-admin", self._trouble)
        self._apis = _Apis()
        self._control: Follower | None = None
        self._records: list[bytes | None] = []
        self._appender = Appender(connection)
        # librdkafka tells what requests the brokers know only in its log.
        heard: dict[str, Any] = {**options(connection, self._trouble, debug="feature"), "logger": self._apis.logger}
        self._admin = AdminClient(heard)

    async def brokers(self) -> FoundBrokers:
        """Return what the brokers say of themselves."""
        return await self._thread.call("asking the brokers who they are", self._brokers)

    async def topics(self, names: Iterable[str]) -> dict[str, FoundTopic]:
        """Return those of the topics that exist, as far as this principal may see them."""
        # Two streams may read one topic, and the brokers take no name twice.
        wanted = list(dict.fromkeys(names))
        until = self._clock.monotonic() + _MOVE_S
        while True:
            found = await self._thread.call("looking at topics", lambda: self._topics(wanted))
            moving = any(it.bounds is None and not it.hidden and not it.leaderless for it in found.values())
            if not moving or self._clock.monotonic() > until:
                return found
            await self._clock.sleep(_ROUND_S)

    async def group(self, name: str, topic: str, partitions: int) -> FoundGroup:
        """Return a consumer group and what it committed of a topic."""
        return await self._thread.call("looking at a group", lambda: self._group(name, topic, partitions), name)

    async def declared(self, control: str) -> dict[str, str]:
        """Return name and id of the topics that the control topic declares; none when there is no control topic."""
        if control not in await self.topics([control]):
            return {}
        if self._control is None:
            self._control = Follower(self._connection, control, self._clock, self._fold)
        await self._control.catch_up()
        return declared_topics(self._records)

    async def transactions(self, transactional_id: str) -> str:
        """Return why a transaction with this id cannot be begun; empty when it can. Writes no record."""
        return await self._thread.call("trying a transaction", lambda: self._transactions(transactional_id))

    async def take(self, step: Step, control: str) -> None:
        """Take a step of a plan. Idempotent: what is so already is left as it is."""
        name = step.spec.name
        if step.action is Action.CREATE:
            await self._thread.call("making a topic", lambda: self._create(step.spec), name)
        elif step.action is Action.GROW:
            await self._thread.call("adding partitions", lambda: self._grow(step.spec), name)
        elif step.action is Action.ALTER:
            values = {it.setting: it.wanted for it in step.alterations}
            await self._thread.call("changing settings", lambda: self._alter(name, values), name)
        if step.action in (Action.CREATE, Action.GROW, Action.DECLARE):
            found = await self._visible(step.spec)
            if step.action is not Action.GROW:
                record = declaration(name, found.id, step.replaces, self._clock.now_us())
                await self._appender.append(control, [(name.encode(), record, [CONTENT_TYPE])])

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        if self._control is not None:
            await self._control.close()
        await self._appender.close()
        await self._thread.close(self._last)

    def _fold(self, message: Message) -> None:
        self._records.append(message.value())

    # --- on the thread

    def _last(self) -> None:
        self._admin.poll(0)

    def _brokers(self) -> FoundBrokers:
        self._meet()
        cluster = self._wait(self._admin.describe_cluster(request_timeout=LOOK_S))
        settings = None
        for node in cluster.nodes[:1]:
            settings = self._config(ConfigResource.Type.BROKER, [str(node.id)])[0].get(str(node.id))
        for _ in range(_ROUNDS):
            if self._apis.newest():
                break
            self._admin.poll(_ROUND_S)
        return FoundBrokers(cluster.cluster_id or "kafka", len(cluster.nodes), self._apis.newest(), settings)

    def _topics(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        if not names:
            return {}
        self._meet()
        asked = self._admin.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=LOOK_S
        )
        descriptions: dict[str, Any] = {}
        found: dict[str, FoundTopic] = {}
        for name, future in asked.items():
            try:
                descriptions[name] = self._wait(future)
            except KafkaException as error:
                if error.args[0].code() in _DENIED:
                    found[name] = FoundTopic(name, "", 0, 0, operations=frozenset())
                elif error.args[0].code() not in _ABSENT:
                    raise
        configs, coming = self._config(ConfigResource.Type.TOPIC, list(descriptions))
        led = {name: [part.id for part in it.partitions if part.leader] for name, it in descriptions.items()}
        ends = [self._offsets(led, spec) for spec in (OffsetSpec.earliest(), OffsetSpec.latest())]
        newest = self._offsets(led, OffsetSpec.max_timestamp())
        for name, it in descriptions.items():
            bounds = None
            if name not in coming and all(name in offsets for offsets in ends):
                bounds = {p: (ends[0][name][p].offset, ends[1][name][p].offset) for p in led[name]}
            times = [at.timestamp for at in newest.get(name, {}).values() if at.timestamp >= 0]
            found[name] = FoundTopic(
                name=name,
                id=str(it.topic_id),
                partitions=len(it.partitions),
                replication=max((len(part.replicas) for part in it.partitions), default=0),
                config=configs.get(name),
                bounds=bounds,
                operations=_names(it.authorized_operations),
                newest_ms=max(times, default=None),
                leaderless=len(it.partitions) - len(led[name]),
                behind=sum(len(part.isr) < len(part.replicas) for part in it.partitions),
            )
        return found

    def _offsets(self, led: Mapping[str, Sequence[int]], spec: OffsetSpec) -> dict[str, dict[int, Any]]:
        """Return the offsets of each topic's partitions; topics are left out whose offsets cannot be read."""
        wanted = {TopicPartition(topic, partition): spec for topic, those in led.items() for partition in those}
        offsets: dict[str, dict[int, Any]] = {topic: {} for topic in led}
        if not wanted:
            return offsets
        for where, future in self._admin.list_offsets(wanted, request_timeout=LOOK_S).items():
            try:
                at = self._wait(future)
            except KafkaException as error:
                if error.args[0].code() not in _DENIED | _MOVING:
                    raise
                offsets.pop(where.topic, None)
            else:
                offsets.get(where.topic, {})[where.partition] = at
        return offsets

    def _config(self, kind: Any, names: Sequence[str]) -> tuple[dict[str, dict[str, str]], set[str]]:
        """Return the settings of topics or of one broker, without those that this principal may not see; and the topics
        that were just made, of which the broker that was asked has not heard yet.
        """
        configs: dict[str, dict[str, str]] = {}
        coming: set[str] = set()
        if not names:
            return configs, coming
        resources = [ConfigResource(kind, name) for name in names]
        for resource, future in self._admin.describe_configs(resources, request_timeout=LOOK_S).items():
            try:
                entries: Mapping[str, ConfigEntry] = self._wait(future)
            except KafkaException as error:
                if error.args[0].code() in _ABSENT:
                    coming.add(resource.name)
                elif error.args[0].code() not in _DENIED:
                    raise
                continue
            configs[resource.name] = {name: it.value for name, it in entries.items() if it.value is not None}
        return configs, coming

    def _group(self, name: str, topic: str, partitions: int) -> FoundGroup:
        asked = [TopicPartition(topic, partition) for partition in range(partitions)]
        try:
            described = self._wait(
                self._admin.describe_consumer_groups(
                    [name], include_authorized_operations=True, request_timeout=LOOK_S
                )[name]
            )
            offsets = self._standing(name, asked) if asked else {}
        except KafkaException as error:
            if error.args[0].code() in _DENIED:
                return FoundGroup(name, operations=frozenset())
            raise
        committed = {at: it.offset for at, it in offsets.items()}
        return FoundGroup(name, len(described.members), committed, _names(described.authorized_operations))

    def _standing(self, group: str, places: list[TopicPartition]) -> dict[int, TopicPartition]:
        consumer = Consumer(reading(self._connection, self._trouble, group_id=group))
        try:
            return standing(consumer, places, self._trouble, self._clock)
        finally:
            consumer.close()

    def _transactions(self, transactional_id: str) -> str:
        producer = Producer(options(self._connection, self._trouble, transactional_id=transactional_id))
        try:
            producer.init_transactions(LOOK_S)
        except KafkaException as error:
            return str(translated(error.args[0], "beginning a transaction", transactional_id))
        return ""

    def _meet(self) -> None:
        """Wait until a broker answers, and see that it is not so old that the client does not survive its answers."""
        if self._apis.newest():
            return
        until = self._clock.monotonic() + LOOK_S
        while True:
            try:
                self._admin.list_topics(_NOWHERE, timeout=_ROUND_S * _ROUNDS)
            except KafkaException:
                self._admin.poll(_ROUND_S)
                self._trouble.check()
                if self._clock.monotonic() > until:
                    raise
            else:
                break
        for _ in range(_ROUNDS):
            if self._apis.newest():
                break
            self._admin.poll(_ROUND_S)
        if self._apis.newest().get("Metadata", _OLDEST) < _OLDEST:
            raise Unreachable(KAFKA, "the broker is too old", "Headwater needs Kafka 2.5 or later", code="too-old")

    def _create(self, spec: TopicSpec) -> None:
        new = NewTopic(spec.name, spec.partitions, spec.replication or -1, config=dict(spec.config))
        self._made(self._admin.create_topics([new], request_timeout=_MAKE_S)[spec.name])

    def _grow(self, spec: TopicSpec) -> None:
        more = self._admin.create_partitions([NewPartitions(spec.name, spec.partitions)], request_timeout=_MAKE_S)
        self._wait(more[spec.name])

    def _alter(self, name: str, values: Mapping[str, str]) -> None:
        entries = [ConfigEntry(it, value, incremental_operation=AlterConfigOpType.SET) for it, value in values.items()]
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
        for future in self._admin.incremental_alter_configs([resource], request_timeout=_MAKE_S).values():
            self._wait(future)

    def _made(self, future: Future[None]) -> None:
        """Wait for what another may have made at the same time."""
        try:
            self._wait(future)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def _wait(self, future: Future[T]) -> T:
        """Wait for an answer, and hear meanwhile whether waiting is in vain."""
        while not wait([future], _ROUND_S).done:
            self._admin.poll(0)
            self._trouble.check()
        return future.result()

    async def _visible(self, spec: TopicSpec) -> FoundTopic:
        """Wait until a topic that was made can be used."""
        until = self._clock.monotonic() + _MAKE_S
        while True:
            found = (await self.topics([spec.name])).get(spec.name)
            if found is not None and found.bounds is not None and len(found.bounds) >= spec.partitions:
                return found
            if self._clock.monotonic() > until:
                cure = "See why its partitions have no leader, then try again"
                raise Unreachable(
                    KAFKA, f"{spec.name} was made, and cannot be used after {_MAKE_S:g} s", cure, code="no-topic"
                )
            await self._clock.sleep(_ROUND_S * 5)


class _Apis(logging.Handler):
    """Hears which requests each broker knows."""

    def __init__(self) -> None:
        super().__init__()
        self.logger = logging.Logger("headwater.librdkafka.feature", logging.DEBUG)
        self.logger.addHandler(self)
        self._of_broker: dict[str, dict[str, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if heard := _API.search(record.getMessage()):
            broker, name, newest = heard.groups()
            self._of_broker.setdefault(broker, {})[name] = int(newest)

    def newest(self) -> dict[str, int]:
        """Return the newest version of each request that all brokers know."""
        brokers = list(self._of_broker.values())
        return (
            {name: min(it[name] for it in brokers) for name in brokers[0] if all(name in it for it in brokers)}
            if brokers
            else {}
        )


def _names(operations: Iterable[AclOperation] | None) -> frozenset[str] | None:
    """Return operations as kafka-acls.sh names them: DESCRIBE_CONFIGS is DescribeConfigs."""
    if operations is None:
        return None
    return frozenset("".join(part.capitalize() for part in it.name.split("_")) for it in operations)


async def measured(admin: KafkaAdmin, streams: Sequence[StreamLog]) -> tuple[list[StreamLog], list[str]]:
    """Return the streams with the partitions that other systems' topics have, and the topics that cannot be seen.

    A stream whose topic cannot be seen is left out.
    """
    others = await admin.topics(stream.topic for stream in streams if stream.topic is not None)
    seen = {name: topic for name, topic in others.items() if not topic.hidden}
    known = [
        replace(stream, partitions=seen[stream.topic].partitions) if stream.topic else stream
        for stream in streams
        if stream.topic is None or stream.topic in seen
    ]
    return known, sorted({stream.topic for stream in streams if stream.topic} - set(seen))


async def look(admin: KafkaAdmin, specs: Sequence[TopicSpec], consent: Consent = NO_CONSENT) -> list[Step]:
    """Return what it takes to bring topics to what they shall be. The first is the registry's."""
    found = await admin.topics(spec.name for spec in specs)
    control = specs[0].name
    declared = await admin.declared(control) if control in found and not found[control].hidden else {}
    return plan(specs, found, declared, consent)


async def bring(
    admin: KafkaAdmin,
    specs: Sequence[TopicSpec],
    consent: Consent = NO_CONSENT,
    took: Callable[[Step], None] = lambda _step: None,
) -> list[Step]:
    """Bring topics to what they shall be; return what is left to do. Idempotent.

    Others may do the same at the same time. `took` hears of each step when it is done.
    """
    for step in await look(admin, specs, consent):
        if step.action in TAKEN:
            await admin.take(step, specs[0].name)
            took(step)
    return [step for step in await look(admin, specs) if step.action is not Action.NOTHING]
