"""The brokers of a drill, and what harm is done to them."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from tests.drills.ground import BROKER, CHANGES, PARTITIONS, SESSION_S
from tests.kafka.broker import Broker
from tests.kafka.client import Kafka
from tests.kafka.cluster import Cluster
from tests.kafka.proxy import TO_CLIENT
from tests.kafka.tiered import TieredBroker

BLACKHOLE_S = SESSION_S + 2.0
DOWN_S = 4.0


class Brokers:
    """One broker or three, each behind a proxy, and what harm is done to them."""

    def __init__(self, count: int, chance: random.Random, done: Counter[str], *, tiered: bool = False) -> None:
        self._chance = chance
        self._done = done
        kind = TieredBroker if tiered else Broker
        self._cluster = Cluster(count, overrides=BROKER, proxied=True) if count > 1 else None
        self._all = self._cluster.brokers if self._cluster else [kind(overrides=BROKER, proxied=True)]
        self._healed_at: float | None = None
        self._down: Broker | None = None
        self._started_at: float | None = None
        self._asked_at = 0.0

    def __enter__(self) -> Brokers:
        (self._cluster or self._all[0]).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        (self._cluster or self._all[0]).close()

    @property
    def client(self) -> Kafka:
        return (self._cluster or self._all[0]).client

    @property
    def proxied(self) -> Kafka:
        return (self._cluster or self._all[0]).proxied

    def set(self, settings: Mapping[str, str]) -> None:
        """Set the topic of changes to what no configuration of Headwater's does."""
        entries = [
            ConfigEntry(it, value, incremental_operation=AlterConfigOpType.SET) for it, value in settings.items()
        ]
        topic = ConfigResource(ConfigResource.Type.TOPIC, CHANGES, incremental_configs=entries)
        admin = self._admin()
        for future in admin.incremental_alter_configs([topic]).values():
            future.result(30)

    def first_segments(self) -> list[Path]:
        """The files with the first records, as far as a broker still has them."""
        found = [it.data / f"{CHANGES}-{at}" / f"{0:020}.log" for it in self._all for at in range(PARTITIONS)]
        return [path for path in found if path.exists()]

    def blackhole(self) -> None:
        """Requests arrive and are obeyed; the answers to all clients behind the proxies are held back."""
        if self._healed_at is None:
            for broker in self._all:
                broker.proxy.stall(TO_CLIENT)
            self._healed_at = time.monotonic() + BLACKHOLE_S
            self._done["blackholes"] += 1

    def kill(self) -> None:
        """`kill -9` for one of several, when all the others have what it has."""
        if self._down is None and self._started_at is None and self._cluster:
            self._down = self._chance.choice(self._all)
            self._down.kill()
            self._started_at = time.monotonic() + DOWN_S
            self._done["brokers killed"] += 1

    def look(self) -> None:
        """Take back harm that has lasted long enough."""
        now = time.monotonic()
        if self._healed_at is not None and now >= self._healed_at:
            self._healed_at = None
            for broker in self._all:
                broker.proxy.heal()
        if self._down is not None and self._started_at is not None and now >= self._started_at:
            self._down.launch()
            self._down = None
        elif self._down is None and self._started_at is not None and now >= self._asked_at + 1:
            self._asked_at = now
            if self._whole():
                self._started_at = None

    def _admin(self) -> AdminClient:
        return AdminClient(self.client.settings(log_level=0))  # that a broker is down is known here

    def _whole(self) -> bool:
        """Whether every replica of every partition is in sync. It is asked again: brokers that do not tell are not."""
        try:
            topics = self._admin().list_topics(timeout=10).topics.values()
        except KafkaException:
            return False
        return all(len(it.isrs) == len(it.replicas) for topic in topics for it in topic.partitions.values())

    def heal(self) -> None:
        """Make all whole."""
        for broker in self._all:
            broker.heal()
        (self._cluster or self._all[0]).await_ready()
        self._healed_at = self._down = self._started_at = None
