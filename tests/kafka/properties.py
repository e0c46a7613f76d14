"""What stands in a test broker's server.properties. Pure: places and ports go in, text comes out.

Everything is on 127.0.0.1. Retention and compaction are looked at every few hundred milliseconds, so that a test of
them takes seconds; internal topics have few partitions; a group's first rebalance does not wait for late members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
#: Listeners that are not plain text.
PROTOCOLS = {"SASL_SSL": "SASL_SSL", "MTLS": "SSL", "OAUTH": "SASL_PLAINTEXT"}


@dataclass(frozen=True)
class Ports:
    """One node's ports. Clients on `proxied` are told `advertised`, where a proxy listens that forwards to it."""

    direct: int
    controller: int
    proxied: int | None = None
    advertised: int | None = None
    #: Listeners by name; the name is the security protocol's, or one that PROTOCOLS translates.
    extra: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """One broker in combined mode: broker and controller in one process."""

    number: int
    ports: Ports
    data: Path


def common(replicas: int) -> dict[str, str]:
    """What every node of a cluster of so many has."""
    several = min(replicas, 3)
    return {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "num.partitions": "1",
        "default.replication.factor": str(several),
        "min.insync.replicas": str(max(1, several - 1)),
        "offsets.topic.replication.factor": str(several),
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": str(several),
        "transaction.state.log.min.isr": str(max(1, several - 1)),
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": str(several),
        "share.coordinator.state.topic.min.isr": str(max(1, several - 1)),
        "share.coordinator.state.topic.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # The newer protocol's rebalances go by heartbeats that the broker alone sets.
        "group.consumer.min.heartbeat.interval.ms": "200",
        "group.consumer.heartbeat.interval.ms": "200",
        "auto.create.topics.enable": "false",
        "log.retention.check.interval.ms": "500",
        "log.initial.task.delay.ms": "500",
        "log.segment.delete.delay.ms": "200",
        "log.cleaner.backoff.ms": "200",
        "log.cleaner.dedupe.buffer.size": "4194304",
        "log.cleaner.io.buffer.size": "524288",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "num.recovery.threads.per.data.dir": "1",
    }


def failover(nodes: int) -> dict[str, str]:
    """A leader that is gone is replaced within about three seconds."""
    return {
        "controller.quorum.election.timeout.ms": "500",
        "controller.quorum.fetch.timeout.ms": "1000",
        # A killed broker that comes back is let in when its former session has ended. Alone it has no time to lose.
        "broker.session.timeout.ms": "3000" if nodes > 1 else "1500",
        "broker.heartbeat.interval.ms": "500" if nodes > 1 else "300",
        "replica.lag.time.max.ms": "3000",
    }


def server(node: Node, nodes: Sequence[Node]) -> dict[str, str]:
    """All properties of `node` among `nodes`."""
    listeners = {"DIRECT": node.ports.direct, "CONTROLLER": node.ports.controller, **node.ports.extra}
    advertised = {"DIRECT": node.ports.direct, **node.ports.extra}
    if node.ports.proxied is not None and node.ports.advertised is not None:
        listeners["PROXIED"] = node.ports.proxied
        advertised["PROXIED"] = node.ports.advertised
    protocols = {name: PROTOCOLS.get(name, "PLAINTEXT") for name in listeners}
    return {
        **common(len(nodes)),
        **failover(len(nodes)),
        "node.id": str(node.number),
        "controller.quorum.voters": ",".join(f"{it.number}@{HOST}:{it.ports.controller}" for it in nodes),
        "listeners": addresses(listeners),
        "advertised.listeners": addresses(advertised),
        "listener.security.protocol.map": ",".join(f"{name}:{it}" for name, it in protocols.items()),
        "inter.broker.listener.name": "DIRECT",
        "log.dirs": str(node.data),
    }


def addresses(listeners: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())


def text(properties: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())


def meta(cluster: str, number: int, directory: str) -> str:
    """The file that marks a data folder as formatted."""
    return text({"version": "1", "cluster.id": cluster, "node.id": str(number), "directory.id": directory})


LOG4J = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{HH:mm:ss.SSS} %-5p %c{1}: %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
  </Loggers>
</Configuration>
"""
