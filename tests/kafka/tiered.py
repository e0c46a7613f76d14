"""A broker that moves closed segments to a remote store, here a folder. Kafka's own store for tests does it.

with TieredBroker() as broker:
    topic = broker.client.topic(config=TIERED)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.kafka import java
from tests.kafka.broker import Broker
from tests.kafka.client import Kafka

#: A topic whose segments go to the remote store as soon as they are closed, after one megabyte.
TIERED = {"remote.storage.enable": "true", "segment.bytes": "1048576", "local.retention.bytes": "1048576"}


@dataclass(frozen=True)
class Tiered:
    """Such a broker as its clients see it, and where segments lie."""

    client: Kafka
    data: Path
    remote: Path

    def local_segments(self, topic: str) -> int:
        return len(list((self.data / f"{topic}-0").glob("*.log")))

    def remote_segments(self, topic: str) -> int:
        return sum(1 for it in self.remote.rglob("*.log") if f"{topic}-0" in str(it))


class TieredBroker(Broker):
    """One broker with tiered storage."""

    @property
    def remote(self) -> Path:
        """Where moved segments lie."""
        return self.folder / "remote"

    def properties(self) -> dict[str, str]:
        jars = sorted((java.home() / "tiered").glob("*.jar"))
        manager, metadata = "remote.log.storage.manager", "remote.log.metadata"
        return {
            **super().properties(),
            "remote.log.storage.system.enable": "true",
            f"{manager}.class.name": "org.apache.kafka.server.log.remote.storage.LocalTieredStorage",
            # A path of its own: on the class path the test classes would hide the real ones.
            f"{manager}.class.path": ":".join(map(str, jars)),
            f"{manager}.impl.prefix": "rsm.config.",
            "rsm.config.dir": str(self.remote),
            "rsm.config.delete.on.close": "false",
            f"{metadata}.manager.listener.name": "DIRECT",
            f"{metadata}.manager.impl.prefix": "rlmm.config.",
            f"rlmm.config.{metadata}.topic.replication.factor": "1",
            f"rlmm.config.{metadata}.topic.num.partitions": "1",
            "remote.log.manager.task.interval.ms": "500",
        }
