"""PURE: what is used of the statistics that librdkafka tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec


class _Broker(msgspec.Struct):
    state: str = ""


class _Partition(msgspec.Struct):
    ls_offset: int = 0


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition] = {}


class _Group(msgspec.Struct, frozen=True):
    rebalance_cnt: int = 0


class _Statistics(msgspec.Struct):
    """What is used of librdkafka's statistics."""

    brokers: dict[str, _Broker] = {}
    topics: dict[str, _Topic] = {}
    cgrp: _Group = _Group()


_STATISTICS = msgspec.json.Decoder(_Statistics)


class Statistics(NamedTuple):
    """What the client says of itself: brokers that answer, partitions held, records not read yet, rebalances so far."""

    brokers: int
    partitions: int
    lag: int
    rebalances: int


class Measured(NamedTuple):
    """What the client alone knows: brokers that answer, where the topic's partitions end, rebalances so far."""

    brokers: int
    ends: Mapping[int, int]
    rebalances: int


def measured(statistics: str, topic: str) -> Measured:
    """Read the client's statistics."""
    found = _STATISTICS.decode(statistics)
    up = sum(broker.state == "UP" for broker in found.brokers.values())
    partitions = found.topics.get(topic, _Topic()).partitions
    return Measured(up, {int(at): it.ls_offset for at, it in partitions.items()}, found.cgrp.rebalance_cnt)
