"""A cluster of real brokers, which replaces a leader that is gone within about three seconds.

with Cluster(3) as cluster:
    topic = cluster.client.topic(partitions=3)            # three replicas, two of which must acknowledge
    cluster.leader(topic).kill()
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Mapping
from typing import Self

from tests.kafka.broker import START_S, STOP_S, Broker, identifier
from tests.kafka.client import Kafka
from tests.kafka.process import CannotStartError, Service, fresh_folder


class Cluster(Service):
    """So many brokers, each in combined mode."""

    def __init__(
        self,
        size: int = 3,
        *,
        overrides: Mapping[str, str] | None = None,
        heap: str = "256m",
        proxied: bool = False,
        owner: int | None = None,
    ) -> None:
        """As for `Broker`; with `proxied` each broker has a proxy of its own."""
        self.folder = fresh_folder("cluster", owner)
        self.brokers: list[Broker] = []
        for number in range(1, size + 1):
            folder = self.folder / f"broker-{number}"
            folder.mkdir()
            self.brokers.append(Broker(folder, overrides=overrides, heap=heap, proxied=proxied, owner=owner))
        cluster = identifier()
        for number, broker in enumerate(self.brokers, start=1):
            broker.join(number, (), cluster)
        for number, broker in enumerate(self.brokers, start=1):
            broker.join(number, [it.node for it in self.brokers], cluster)

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers)

    @property
    def client(self) -> Kafka:
        return Kafka(self.bootstrap)

    @property
    def proxied(self) -> Kafka:
        """The cluster as seen through the proxies."""
        return Kafka(",".join(broker.proxy.address for broker in self.brokers))

    def start(self, timeout_s: float = START_S) -> Self:
        """Start all, and wait until each knows all and took a record."""
        for broker in self.brokers:
            broker.launch()
        self.await_ready(timeout_s)
        return self

    def await_ready(self, timeout_s: float = START_S) -> None:
        for broker in self.brokers:
            broker.await_ready(timeout_s)

    def leader(self, topic: str, partition: int = 0, timeout_s: float = 30) -> Broker:
        """The broker that leads the partition now; waits while none does."""
        until = time.monotonic() + timeout_s
        admin = self.client.admin()
        while time.monotonic() < until:
            leader = admin.list_topics(topic, timeout=timeout_s).topics[topic].partitions[partition].leader
            if leader > 0:
                return self.brokers[leader - 1]
            time.sleep(0.1)
        raise CannotStartError(f"{topic}/{partition} has no leader after {timeout_s:.0f} s")

    def in_sync(self, topic: str, partition: int = 0) -> list[int]:
        """The numbers of the brokers whose replica of the partition is in sync."""
        found = self.client.admin().list_topics(topic, timeout=30).topics[topic]
        return sorted(found.partitions[partition].isrs)

    def heal(self, timeout_s: float = START_S) -> None:
        """Make it whole again after a test: every broker running and awake, no fault in any proxy."""
        for broker in self.brokers:
            broker.heal()
        self.await_ready(timeout_s)

    def stop(self) -> None:
        """Shut all down at once: the last one alone would wait in vain for a quorum."""
        for broker in self.brokers:
            broker.resume()
            broker.process.send(signal.SIGTERM)
        for broker in self.brokers:
            if not broker.process.wait(STOP_S):
                broker.kill()

    def close(self) -> None:
        for broker in self.brokers:
            broker.close()
        shutil.rmtree(self.folder, ignore_errors=True)
