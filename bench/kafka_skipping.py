"""How fast changes go by that need no work: overtaken ones, and filtered ones, against a loop that only decodes.

The loop decodes as the stream does, from the record to the change with its digest, and keeps nothing. Beside it stands
one that only parses the JSON.
"""

from __future__ import annotations

import asyncio
import cProfile
import io
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from confluent_kafka.cimpl import Message

from bench.kafka_site import STREAM, broker, configure, fill, settle, skipped
from bench.report import Figure
from headwater.log.codecs import json
from headwater.log.codecs.decoder import decoder
from headwater.log.codecs.layout import Layout
from headwater.log.kafka_history import record_of
from headwater.model.registry import ANY_EPOCH
from headwater.wiring import open_site
from tests.kafka.client import Kafka

RECORDS = 100_000
#: What the overtaken changes are about: each document comes round a thousand times.
DOCUMENTS = 100
PARTITIONS = 4
ROUNDS = 3
FILTER = '      filter: body.kind == "article"\n'
#: What reads a topic of plain bodies.
_DECODE = decoder(Layout(envelope="none"), None)
_WORDS = ("reservoir", "river", "rain", "gauge", "level", "outflow", "basin", "catchment", "delta", "spring")


def measure() -> list[Figure]:
    """Both kinds in turns with the bare loop, over topics of the same records."""
    if (none := skipped()) is not None:
        return none
    figures = []
    with broker() as kafka:
        for kind, documents, recipe, target in (
            ("superseded", DOCUMENTS, "", ">= 0.2"),
            ("filtered", RECORDS, FILTER, ">= 0.08"),
        ):
            topic = fill(kafka, _bodies(documents), PARTITIONS)
            ours, decoding, parsing = [], [], []
            for _ in range(ROUNDS):
                decoding.append(_bare(kafka, topic, _decoded))
                parsing.append(_bare(kafka, topic, _parsed))
                ours.append(asyncio.run(_ours(kafka, topic, recipe, kind)))
            name = f"skipping {kind} records, against a loop that"
            figures.append(_against(f"{name} decodes them", ours, decoding, target))
            figures.append(_against(f"{name} parses their JSON", ours, parsing, None))
    return figures


def _against(name: str, ours: list[float], theirs: list[float], target: str | None) -> Figure:
    """The best round of each: what disturbs a round only ever slows it down."""
    here, there = min(ours), min(theirs)
    return Figure(name, "records/s", RECORDS / here, RECORDS / there, there / here, target)


def profile(kind: str) -> None:
    """Print where the time goes, in the loop's own thread."""
    documents, recipe = (DOCUMENTS, "") if kind == "superseded" else (RECORDS, FILTER)
    with broker() as kafka:
        topic = fill(kafka, _bodies(documents), PARTITIONS)
        profiler = cProfile.Profile()
        profiler.enable()
        asyncio.run(_ours(kafka, topic, recipe, kind))
        profiler.disable()
    out = io.StringIO()
    pstats.Stats(profiler, stream=out).sort_stats("tottime").print_stats(30)
    print("\n".join(line for line in out.getvalue().splitlines()[4:] if line.strip()))


def _bodies(documents: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Some 300 bytes each, no two alike."""
    for number in range(RECORDS):
        text = " ".join(_WORDS[(number + at * 7) % len(_WORDS)] for at in range(28))
        yield f"document/{number % documents}", {"text": f"{text} {number}", "title": f"No. {number}", "kind": "note"}


async def _ours(kafka: Kafka, topic: str, recipe: str, kind: str) -> float:
    with tempfile.TemporaryDirectory() as name:
        site = open_site(configure(Path(name), kafka, topic, recipe=recipe), {})
        try:
            seconds = await settle(site)
            outcomes = (await site.ledger(STREAM).totals()).outcomes
        finally:
            await site.close()
    assert sum(outcomes.values()) == RECORDS, outcomes
    assert outcomes[kind] > 0.9 * RECORDS, outcomes
    return seconds


def _bare(kafka: Kafka, topic: str, take: Callable[[Message], object]) -> float:
    """Consume, and do that with each record; no order, no index, no receipts, no commits."""
    began = 0.0
    left = RECORDS
    with kafka.consumer([topic], queued_max_messages_kbytes=8192, fetch_queue_backoff_ms=10) as consumer:
        while left:
            messages = consumer.consume(500, 1.0)
            began = began or (time.perf_counter() if messages else 0.0)
            for message in messages:
                assert message.error() is None
                take(message)
            left -= len(messages)
    return time.perf_counter() - began


def _parsed(message: Message) -> object:
    return json.parse(message.value() or b"")


def _decoded(message: Message) -> object:
    return _DECODE(record_of(message), ANY_EPOCH)
