"""A broker of the run's own, and streams that read topics on it. Skipped with a word where its jars are not there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.report import Figure
from headwater.engine.supervisor import End
from headwater.observability.signals import Event
from headwater.wiring import Site
from tests.kafka import java
from tests.kafka.broker import Broker
from tests.kafka.client import Kafka, fresh_name

STREAM = "bench"


@contextmanager
def broker() -> Iterator[Kafka]:
    """Start a broker; it is gone at the end."""
    with Broker(heap="512m") as started:
        yield started.client


def skipped() -> list[Figure] | None:
    """Say so when a broker cannot be had here; None when it can."""
    if lacking := java.missing("broker"):
        print(f"skipped: {lacking}", flush=True)
        return []
    return None


def configure(folder: Path, kafka: Kafka, topic: str, *, recipe: str = "", log: str = "") -> Path:
    """Write a configuration whose stream reads a topic, under names of its own: nobody has read that topic for it."""
    path = folder / "headwater.yaml"
    path.write_text(
        f"log: {{url: kafka://{kafka.bootstrap}, prefix: {fresh_name('bench')}{log}}}\n"
        f"streams:\n  {STREAM}:\n    topic: {topic}\n    index: sqlite:///index.db\n"
        f"    recipe:\n      embed: {{model: hash}}\n{recipe}"
    )
    return path


def fill(kafka: Kafka, records: Iterable[tuple[str, Mapping[str, Any]]], partitions: int) -> str:
    """Put bodies by their ids into a topic of its own; return its name."""
    topic = kafka.topic(partitions=partitions)
    lines = ((id_.encode(), json.dumps(body).encode()) for id_, body in records)
    kafka.produce(topic, lines, linger_ms=50, queue_buffering_max_messages=1_000_000, message_timeout_ms=120_000)
    return topic


async def settle(site: Site) -> float:
    """Run the worker until the topic is settled; return the seconds from its partitions to the last settlement.

    Joining a group takes its time whatever the work, so it does not count.
    """
    seen: dict[Event, float] = {}

    def hear(event: Event, fields: Mapping[str, Any]) -> None:
        if event is not Event.PARTITIONS_MOVED or fields["assigned"]:
            seen[event] = time.perf_counter()

    await site.journal.prepare()
    ended = await site.worker(STREAM, hear).run(once=True)
    assert ended.end is End.DONE, ended
    return seen[Event.CHANGES_SETTLED] - seen[Event.PARTITIONS_MOVED]
