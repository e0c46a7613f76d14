"""Judges what a drill left behind, by what the brokers hold and by what was published; the product's own word is last.

Changes and receipts are read by a plain consumer and as JSON; nothing of Headwater is imported here.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from confluent_kafka.cimpl import Message

from tests.acceptance.corpus import judged
from tests.drills.ground import CHANGES, GROUP, PARTITIONS, RECEIPTS, STREAM, Ground
from tests.drills.traffic import Batch
from tests.kafka.client import Kafka

#: Outcomes of a change that the index was changed for; the others say that a newer one was there.
EFFECTS = frozenset({"indexed", "unchanged", "payload-only", "deleted", "filtered"})
TOLD = 5

Place = tuple[int, int]


@dataclass
class Judgement:
    """What was found."""

    records: int = 0
    receipts: int = 0
    #: Places with more than one receipt: settled beyond the frontier by one worker, and again by its successor.
    repeats: int = 0
    #: Changes that nobody had acknowledged, and that are there.
    doubtful: int = 0
    #: Acknowledged changes that are there no longer: compacted away.
    gone: int = 0
    violations: list[str] = field(default_factory=list)


def judge(
    ground: Ground, kafka: Kafka, batches: Sequence[Batch], *, compacted: bool = False, indexes: int = 1
) -> Judgement:
    """Look at everything. `indexes` is how many were built one after another, each from the beginning."""
    found = Judgement()
    changes = read_all(kafka, CHANGES)
    found.records = len(changes)
    found.violations += published(changes, batches, found, compacted=compacted)
    found.violations += settled(kafka, changes, found, indexes)
    found.violations += indexed(ground, changes)
    return found


# ── the log ──


def read_all(kafka: Kafka, topic: str) -> list[Message]:
    """Every committed record that the topic holds now."""
    found: list[Message] = []
    with kafka.consumer([], isolation_level="read_committed", enable_partition_eof="true") as consumer:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, it, OFFSET_BEGINNING) for it in partitions])
        ended: set[int] = set()
        while len(ended) < len(partitions):
            for message in consumer.consume(1000, 0.2):
                if message.error() is None:
                    found.append(message)
                else:
                    ended.add(message.partition() or 0)
    return found


def behind(kafka: Kafka) -> dict[int, tuple[int, int]]:
    """Partitions whose committed offset is not the high watermark: both numbers."""
    with kafka.consumer([], group_id=GROUP, log_level=0) as consumer:
        places = [TopicPartition(CHANGES, partition) for partition in range(PARTITIONS)]
        marks = {it.partition: consumer.get_watermark_offsets(it, timeout=30)[1] for it in places}
        committed = {it.partition: it.offset for it in consumer.committed(places, timeout=30)}
    return {at: (committed[at], high) for at, high in marks.items() if max(0, committed[at]) != high}


def published(
    changes: Sequence[Message], batches: Sequence[Batch], found: Judgement, *, compacted: bool
) -> Iterator[str]:
    """Every acknowledged change is there, in its document's order; what was never published is not."""
    held: dict[str, list[str]] = defaultdict(list)
    for message in changes:
        held[(message.key() or b"").decode()].append((message.value() or b"").decode())
    sent: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for batch in batches:
        for line in batch.lines:
            sent[json.loads(line)["id"]].append((line, batch.acknowledged))
    for document in held.keys() | sent.keys():
        there = held[document]
        if compacted:  # only the last one must be there
            lines = set(there)
            found.gone += sum(acknowledged and line not in lines for line, acknowledged in sent[document])
            certain = [line for line, acknowledged in sent[document] if acknowledged][-1:]
            after = [line for line, _ in sent[document]]
            if certain and (not there or after.index(there[-1]) < after.index(certain[0])):
                yield f"log: the last acknowledged change of {document!r} is lost"
            continue
        lines = set(there)
        expected = [line for line, acknowledged in sent[document] if acknowledged or line in lines]
        found.doubtful += sum(not acknowledged and line in lines for line, acknowledged in sent[document])
        if there != expected:
            yield f"log: {document!r} has {len(there)} changes, {len(expected)} were published, or another order"


# ── what was settled ──


def settled(kafka: Kafka, changes: Sequence[Message], found: Judgement, indexes: int) -> Iterator[str]:
    """Every record has a receipt, took effect at most once in each index, and is committed."""
    if late := behind(kafka):
        yield f"not committed: {late}"
    receipts = receipts_of(kafka)
    found.receipts = sum(map(len, receipts.values()))
    found.repeats = sum(len(each) > 1 for each in receipts.values())
    places = {(it.partition() or 0, it.offset() or 0) for it in changes}
    if lacking := sorted(places - receipts.keys()):
        yield f"{len(lacking)} records have no receipt: {lacking[:TOLD]}"
    highest = Counter[int]()
    for partition, offset in places:
        highest[partition] = max(highest[partition], offset)
    if foreign := [it for it in sorted(receipts) if it[1] > highest[it[0]]]:
        yield f"{len(foreign)} receipts are about no record: {foreign[:TOLD]}"
    for place, each in sorted(receipts.items()):
        effects = {it["revision"] for it in each if it["outcome"] in EFFECTS}
        if len(effects) > indexes:
            yield f"{place} took effect more than once: {[(it['outcome'], it['revision']) for it in each]}"
        if len({it["version"] for it in each}) > 1:
            yield f"{place} has receipts of two versions: {[it['version'] for it in each]}"


def receipts_of(kafka: Kafka) -> dict[Place, list[dict[str, Any]]]:
    """The distinct receipts of each place. The same one may have been written twice, after a doubtful end."""
    found: dict[Place, dict[tuple[object, ...], dict[str, Any]]] = defaultdict(dict)
    for message in read_all(kafka, RECEIPTS):
        if message.key() is None:
            continue  # what a settlement cost
        receipt = json.loads(message.value() or b"")
        place = (receipt["partition"], receipt["offset"])
        identity = tuple(receipt[name] for name in ("version", "recipe", "revision", "outcome"))
        found[place].setdefault(identity, receipt)
    return {place: list(each.values()) for place, each in found.items()}


# ── the index ──


def indexed(ground: Ground, changes: Sequence[Message]) -> Iterator[str]:
    """`run --once` has nothing left to do, `verify` is clean, and the oracle agrees."""
    ended, said = ground.headwater("run", "--once", "--timeout", "60s")
    if not ended or "0 changes settled, 0 behind" not in said:
        yield f"run --once: {said[-500:]}"
    ended, said = ground.headwater("verify", STREAM, "--json")
    first = said.partition("\n")[0]
    shape = json.loads(first) if ended and first.startswith("{") else {}
    wrong = ("missing", "stale", "orphans", "duplicates", "resurrected", "unverifiable")
    if not shape.get("ok") or any(shape[name] for name in wrong):
        yield f"verify: {said[-500:]}"
    ended, export = ground.headwater("export", STREAM, "--jsonl")
    truth = [json.loads(it.value() or b"") for it in changes]
    if said := judged(truth, export.encode(), ground.folder):
        yield f"oracle: {said}"
