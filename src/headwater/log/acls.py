"""What each role may do on a Kafka, and no more, PURE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from headwater.log.topics import (
    NO_GROUP,
    StreamLog,
    changes_topic,
    consumer_group,
    control_topic,
    dead_topic,
    positions_topic,
    receipts_topic,
    transactional_prefix,
)


class Role(StrEnum):
    """Who uses the log."""

    WORKER = "worker"
    PUBLISHER = "publisher"
    READER = "reader"
    OPERATOR = "operator"


#: What each role is for, in the words of the command line.
ROLES = {
    Role.WORKER: "`headwater run`, its sources, `verify --repair`",
    Role.PUBLISHER: "`headwater publish`",
    Role.READER: "`headwater status`, `trace`, `verify`, `export`, `dead list`",
    Role.OPERATOR: "`headwater topics`, `doctor`, `pause`, `resume`, `dead retry`, `dead discard`",
}


class Resource(StrEnum):
    """What a right is on, as kafka-acls.sh names it."""

    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"
    CLUSTER = "cluster"


@dataclass(frozen=True)
class Grant:
    """Operations on one resource, or on all whose name begins so."""

    resource: Resource
    name: str
    operations: frozenset[str]
    prefixed: bool = False

    def arguments(self, principal: str) -> list[str]:
        """Return the arguments of kafka-acls.sh that add it."""
        resource = ["--cluster"] if self.resource is Resource.CLUSTER else [f"--{self.resource.value}", self.name]
        pattern = ["--resource-pattern-type", "prefixed"] if self.prefixed else []
        operations = [part for operation in sorted(self.operations) for part in ("--operation", operation)]
        return ["--add", "--allow-principal", principal, *resource, *pattern, *operations]


_SEE = frozenset({"Describe", "DescribeConfigs"})
_READ = _SEE | {"Read"}
_WRITE = frozenset({"Describe", "Write"})
_BOTH = _READ | {"Write"}


def grants(role: Role, prefix: str, streams: Iterable[StreamLog]) -> list[Grant]:
    """Return what a role needs for these streams."""
    of_all = _OF_ALL[role](prefix)
    return [*of_all, *(grant for stream in streams for grant in _OF_A_STREAM[role](prefix, stream))]


_WITHOUT_A_GROUP = Grant(Resource.GROUP, NO_GROUP, frozenset({"Describe"}))


def _workers(prefix: str) -> list[Grant]:
    return [Grant(Resource.TOPIC, control_topic(prefix), _BOTH), _WITHOUT_A_GROUP]


def _publishers(_prefix: str) -> list[Grant]:
    return [_WITHOUT_A_GROUP]


def _readers(prefix: str) -> list[Grant]:
    return [Grant(Resource.TOPIC, control_topic(prefix), _READ), _WITHOUT_A_GROUP]


def _operators(prefix: str) -> list[Grant]:
    """An operator makes topics of streams that are not there yet, so its rights go by the prefix."""
    made = _BOTH | {"Create", "Alter", "AlterConfigs"}
    return [
        Grant(Resource.TOPIC, f"{prefix}.", made, prefixed=True),
        Grant(Resource.GROUP, f"{prefix}.", frozenset({"Describe"}), prefixed=True),
        Grant(Resource.TRANSACTIONAL_ID, f"{prefix}.", _WRITE, prefixed=True),
        Grant(Resource.CLUSTER, "kafka-cluster", _SEE),
        _WITHOUT_A_GROUP,
    ]


def _worker(prefix: str, stream: StreamLog) -> Iterator[Grant]:
    if stream.topic is None:
        # Its own sources write there.
        yield Grant(Resource.TOPIC, changes_topic(prefix, stream.name), _BOTH)
    else:
        yield Grant(Resource.TOPIC, stream.topic, _READ)
    for name in (receipts_topic, dead_topic, positions_topic):
        yield Grant(Resource.TOPIC, name(prefix, stream.name), _BOTH)
    yield Grant(Resource.GROUP, consumer_group(prefix, stream.name), frozenset({"Describe", "Read"}))
    yield Grant(Resource.TRANSACTIONAL_ID, transactional_prefix(prefix, stream.name), _WRITE, prefixed=True)


def _publisher(prefix: str, stream: StreamLog) -> Iterator[Grant]:
    if stream.topic is None:
        yield Grant(Resource.TOPIC, changes_topic(prefix, stream.name), _WRITE)
        yield Grant(Resource.TOPIC, positions_topic(prefix, stream.name), _BOTH)
        yield Grant(Resource.TRANSACTIONAL_ID, transactional_prefix(prefix, stream.name), _WRITE, prefixed=True)


def _reader(prefix: str, stream: StreamLog) -> Iterator[Grant]:
    yield Grant(Resource.TOPIC, stream.topic or changes_topic(prefix, stream.name), _READ)
    for name in (receipts_topic, dead_topic):
        yield Grant(Resource.TOPIC, name(prefix, stream.name), _READ)
    yield Grant(Resource.GROUP, consumer_group(prefix, stream.name), frozenset({"Describe"}))


def _operator(_prefix: str, stream: StreamLog) -> Iterator[Grant]:
    if stream.topic is not None:
        yield Grant(Resource.TOPIC, stream.topic, _READ)


_OF_ALL = {
    Role.WORKER: _workers,
    Role.PUBLISHER: _publishers,
    Role.READER: _readers,
    Role.OPERATOR: _operators,
}
_OF_A_STREAM = {
    Role.WORKER: _worker,
    Role.PUBLISHER: _publisher,
    Role.READER: _reader,
    Role.OPERATOR: _operator,
}
