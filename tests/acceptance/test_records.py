"""Record-like streams from a real topic: an API client's operations over four releases, as plain JSON and as Debezium
writes rows. A worker runs after each release, so that nothing is overtaken and each change has its own outcome.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from headwater.demo.processes import Headwater
from headwater.engine.supervisor import End
from headwater.wiring import open_site
from tests.acceptance.corpus import ROOT, judged
from tests.kafka.client import Kafka, Record, fresh_name

pytestmark = pytest.mark.corpus

STREAM = "operations"
RECORDS = ROOT / "build" / "corpus" / "records" / "changes.jsonl"
PARTITIONS = 3

#: `chunk` is not there: what a record needs is the default.
CONFIGURATION = """\
log: {{url: kafka://{bootstrap}, prefix: {prefix}}}
streams:
  operations:
    topic: {{name: {topic}, text: [title, text]{shape}}}
    recipe:
      embed: {{model: hash}}
      payload: {{title: title, meta: meta}}
    index: sqlite:///index.db
"""
#: The default's greatest length of a chunk, in characters.
LONGEST = 1200

Change = dict[str, Any]


@pytest.fixture(scope="module")
def releases() -> list[list[Change]]:
    """The changes of each release."""
    if not RECORDS.exists():
        missing = "there are no records in build/corpus: run `make corpus`"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with RECORDS.open(encoding="utf-8") as file:
        return [list(changes) for _, changes in itertools.groupby(map(json.loads, file), key=lambda it: it["release"])]


# --- how two kinds of producers write a change


def plain(changes: list[Change], before: dict[str, Change]) -> Iterator[Record]:
    """The key is the id, the value the body; a delete is a record without a value."""
    for change in changes:
        body = change.get("body")
        yield change["id"].encode(), json.dumps(body).encode() if body else None


def debezium(changes: list[Change], before: dict[str, Change]) -> Iterator[Record]:
    """A row with `before` and `after` in an envelope; behind a delete comes a marker without a value. The rows that a
    connector finds at its start it reads (`r`).
    """
    started = bool(before)
    for change in changes:
        key = json.dumps({"id": change["id"]}).encode()
        old, new = before.get(change["id"]), change.get("body")
        operation = "d" if new is None else "u" if old else "c" if started else "r"
        envelope = {
            "before": row(change["id"], old),
            "after": row(change["id"], new),
            "source": {"connector": "postgresql", "db": "client", "schema": "public", "table": "operations"},
            "op": operation,
            "ts_ms": 1_700_000_000_000,
        }
        yield key, json.dumps(envelope).encode()
        if operation == "d":
            yield key, None


def row(id_: str, body: Change | None) -> Change | None:
    """A row's columns: what is nested stands in one of them as JSON."""
    return body and {"id": id_, "title": body["title"], "text": body["text"], "meta": json.dumps(body["meta"])}


SHAPES = {"plain": (plain, ""), "debezium": (debezium, ", envelope: debezium")}


# --- what each change should come to, from nothing but the records


class Kind(NamedTuple):
    """What a change is: new text, other metadata beside the same text, a delete, a marker behind one."""

    text_is_new: bool = False
    metadata_only: bool = False
    deletes: bool = False
    repeats_delete: bool = False


def kind_of(old: Change | None, new: Change | None) -> Kind:
    if new is None:
        return Kind(deletes=old is not None, repeats_delete=old is None)
    same_text = old is not None and text_of(old) == text_of(new)
    return Kind(text_is_new=not same_text, metadata_only=same_text)


def text_of(body: Change) -> str:
    return "\n\n".join(part for part in (body["title"], body["text"]) if part)


# --- the run


async def work(config: Path) -> None:
    site = open_site(config, {})
    try:
        await site.journal.prepare()
        ended = await site.worker(STREAM, lambda _event, _fields: None).run(once=True)
        assert ended.end is End.DONE, ended
    finally:
        await site.close()


class Ran(NamedTuple):
    """What a run left behind: each change, its kind and its receipt; what is exported,
    what the oracle says of that, and how many texts the model was given.
    """

    receipts: list[tuple[Kind, Change, dict[str, Any]]]
    exported: dict[str, dict[str, Any]]
    judged: str
    texts_paid: int


@pytest.fixture(scope="module", params=SHAPES)
def ran(
    request: pytest.FixtureRequest, kafka: Kafka, releases: list[list[Change]], tmp_path_factory: pytest.TempPathFactory
) -> Ran:
    write, shape = SHAPES[request.param]
    folder = tmp_path_factory.mktemp("records")
    topic, prefix = kafka.topic(partitions=PARTITIONS), fresh_name("records")
    config = folder / "headwater.yaml"
    config.write_text(CONFIGURATION.format(bootstrap=kafka.bootstrap, prefix=prefix, topic=topic, shape=shape))
    bodies: dict[str, Change] = {}
    for changes in releases:
        kafka.produce(topic, write(changes, bodies), linger_ms=20)
        bodies.update({it["id"]: it["body"] for it in changes if "body" in it})
        for it in changes:
            if "body" not in it:
                del bodies[it["id"]]
        asyncio.run(work(config))
    export = Headwater(folder).call("export", STREAM, "--jsonl")
    published = [
        {"id": it["id"], "op": it["op"], **({"text": text_of(it["body"])} if "body" in it else {})}
        for it in itertools.chain(*releases)
    ]
    costs, receipts = settled(kafka, f"{prefix}.{STREAM}.receipts")
    return Ran(
        receipts=list(beside(receipts, kafka, topic)),
        exported={line["id"]: line for line in map(json.loads, export.splitlines())},
        judged=judged(published, export, folder),
        texts_paid=sum(line["usage"]["texts"] for line in costs),
    )


def settled(kafka: Kafka, topic: str) -> tuple[list[dict[str, Any]], dict[tuple[int, int], dict[str, Any]]]:
    """What settling wrote, as any consumer reads it: what embedding cost, and each change's receipt by its place."""
    costs: list[dict[str, Any]] = []
    receipts: dict[tuple[int, int], dict[str, Any]] = {}
    for message in kafka.whole(topic):
        line = json.loads(message.value() or b"")
        if message.key() is None:
            costs.append(line)
        else:
            place = line["partition"], line["offset"]
            assert place not in receipts, f"two receipts for the change at {place}"
            receipts[place] = line
    return costs, receipts


def beside(
    receipts: dict[tuple[int, int], dict[str, Any]], kafka: Kafka, topic: str
) -> Iterator[tuple[Kind, Change, dict[str, Any]]]:
    """Put each change of the topic, its kind and its body, beside its receipt. Each has one."""
    bodies: dict[bytes | None, Change | None] = {}
    read = 0
    for message in kafka.whole(topic):
        value = json.loads(message.value() or b"null")
        if value and "op" in value:
            value = value["after"]
        key = message.key()
        kind, bodies[key] = kind_of(bodies.get(key), value), value
        yield kind, value, receipts[message.partition() or 0, message.offset() or 0]
        read += 1
    assert read == len(receipts)


# --- what holds


def test_the_stream_is_the_one_that_was_promised(releases: list[list[Change]]) -> None:
    report = json.loads(RECORDS.with_name("report.json").read_text())["releases"]
    edited, metadata = (sum(it[name] for it in report) for name in ("edited", "edited_metadata_only"))
    changes = sum(map(len, releases))
    print({"changes": changes, "edited": edited, "metadata only": round(metadata / edited, 3)})
    assert 28_000 < changes < 32_000
    assert 0.38 < metadata / edited < 0.46


def test_the_index_equals_the_last_release(ran: Ran, releases: list[list[Change]]) -> None:
    assert ran.judged == ""
    last: dict[str, Change] = {}
    for change in itertools.chain(*releases):
        last[change["id"]] = change
    bodies = {id_: it["body"] for id_, it in last.items() if "body" in it}
    assert ran.exported.keys() == bodies.keys()
    for id_, body in bodies.items():
        payload = ran.exported[id_]["payload"]
        assert payload["title"] == body["title"]
        assert payload["meta"] in (body["meta"], json.dumps(body["meta"]))


def test_edits_of_metadata_embed_nothing(ran: Ran) -> None:
    outcomes: dict[Kind, Counter[str]] = {}
    for kind, _, receipt in ran.receipts:
        outcomes.setdefault(kind, Counter())[receipt["outcome"]] += 1
        if kind.metadata_only:
            assert receipt["counts"]["embedded"] == receipt["counts"]["reused"] == 0
    print({str(kind): dict(counted) for kind, counted in outcomes.items()})
    metadata = outcomes[Kind(metadata_only=True)]
    assert set(metadata) == {"payload-only"}
    assert metadata.total() > 2_500
    assert set(outcomes[Kind(text_is_new=True)]) == {"indexed"}
    # A marker comes right behind its row's delete, and mostly overtakes it.
    gone = outcomes[Kind(deletes=True)] + outcomes.get(Kind(repeats_delete=True), Counter())
    assert set(gone) <= {"deleted", "superseded"}
    assert gone["deleted"] >= outcomes[Kind(deletes=True)].total() > 1_000
    # The model was asked for new texts alone, and for no text twice.
    texts = {text_of(body) for kind, body, _ in ran.receipts if kind.text_is_new}
    embedded = sum(receipt["counts"]["embedded"] for _, _, receipt in ran.receipts)
    print({"texts embedded": ran.texts_paid, "distinct new texts": len(texts)})
    assert embedded == ran.texts_paid


def test_a_record_is_one_chunk_without_any_setting(ran: Ran) -> None:
    lengths = [(len(text_of(body)), receipt) for kind, body, receipt in ran.receipts if body]
    for length, receipt in lengths:
        assert (receipt["counts"]["chunks"] == 1) == (length <= LONGEST)
    assert sum(length <= LONGEST for length, _ in lengths) > 0.93 * len(lengths)
