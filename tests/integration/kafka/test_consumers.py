"""Several consumers of one stream: another group reads the same changes, and nobody who asks for committed records sees
the receipts of a settlement that did not come to be.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from headwater.engine.supervisor import End
from headwater.wiring import open_site
from tests.kafka.client import Kafka, fresh_name

STREAM = "articles"
DOCUMENTS = 20

#: A worker that dies in its first settlement, when receipts lie in the log and the transaction is not committed.
DYING = """
import os, signal
from confluent_kafka import Producer
from headwater.log import kafka_settling

class Cut(Producer):
    def send_offsets_to_transaction(self, *arguments):
        self.flush(10)
        os.kill(os.getpid(), signal.SIGKILL)

kafka_settling.Producer = Cut
from headwater.cli import main
main()
"""


@pytest.fixture
def configured(kafka: Kafka, tmp_path: Path) -> tuple[Path, str]:
    """A configuration whose stream has a topic of changes with records in it, and the prefix of all its topics."""
    prefix = fresh_name("consumers")
    path = tmp_path / "headwater.yaml"
    path.write_text(
        f"log: {{url: kafka://{kafka.bootstrap}, prefix: {prefix}, session_timeout: 6s}}\n"
        f"streams:\n  {STREAM}: {{partitions: 2, recipe: {{embed: {{model: hash}}}}, index: sqlite:///index.db}}\n"
    )
    lines = "".join(json.dumps({"id": f"d{at}", "text": f"Text number {at}."}) + "\n" for at in range(DOCUMENTS))
    command = [sys.executable, "-m", "headwater", "publish", STREAM, "-c", str(path)]
    subprocess.run(command, input=lines, text=True, check=True, capture_output=True, timeout=60)
    return path, prefix


def work(config: Path) -> None:
    async def once() -> None:
        site = open_site(config, {})
        try:
            ended = await site.worker(STREAM, lambda _event, _fields: None).run(once=True)
            assert ended.end is End.DONE, ended
        finally:
            await site.close()

    asyncio.run(once())


def receipts(kafka: Kafka, prefix: str, isolation: str) -> list[dict[str, Any]]:
    found = kafka.whole(f"{prefix}.{STREAM}.receipts", isolation)
    return [json.loads(message.value() or b"") for message in found if message.key()]


def receipts_when_all_are_there(kafka: Kafka, prefix: str) -> list[dict[str, Any]]:
    """The committed receipts. What the dead worker left open hides what comes behind it, until the brokers end it."""
    until = time.monotonic() + 60
    while len(found := receipts(kafka, prefix, "read_committed")) < DOCUMENTS and time.monotonic() < until:
        time.sleep(0.5)
    return found


def places(lines: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return sorted((line["partition"], line["offset"]) for line in lines)


def test_another_group_reads_the_same_changes(configured: tuple[Path, str], kafka: Kafka) -> None:
    config, prefix = configured
    topic = f"{prefix}.{STREAM}.changes"

    def other_group() -> list[tuple[int, int, str]]:
        """What a group of its own reads; it commits, so the second time it goes on where it stood."""
        found = []
        with kafka.consumer([topic], group_id=f"{prefix}-analytics", enable_partition_eof="true") as consumer:
            ends: set[int | None] = set()
            while len(ends) < 2:
                for message in consumer.consume(100, 0.5):
                    if message.error() is None:
                        line = json.loads(message.value() or b"")
                        found.append((message.partition() or 0, message.offset() or 0, line["id"]))
                    else:
                        ends.add(message.partition())
            if found:
                consumer.commit(asynchronous=False)
        return sorted(found)

    before = other_group()
    assert {id_ for _, _, id_ in before} == {f"d{at}" for at in range(DOCUMENTS)}
    work(config)
    # The worker got every one of them too, and moved nothing of the other group's.
    assert places(receipts(kafka, prefix, "read_committed")) == [(partition, at) for partition, at, _ in before]
    assert other_group() == []


def test_the_receipts_of_an_aborted_settlement_are_nobodys(configured: tuple[Path, str], kafka: Kafka) -> None:
    config, prefix = configured
    command = [sys.executable, "-c", DYING, "run", "--once", "-c", str(config)]
    died = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL, died.stderr
    lost = places(receipts(kafka, prefix, "read_uncommitted"))
    assert lost, "the worker died before it had written any receipt"
    assert receipts(kafka, prefix, "read_committed") == []
    work(config)
    committed = receipts_when_all_are_there(kafka, prefix)
    all_of_them = places(committed)
    assert len(all_of_them) == DOCUMENTS
    assert len(set(all_of_them)) == DOCUMENTS, "a change has two receipts"
    # Who does not ask for committed records sees what was aborted as well.
    assert places(receipts(kafka, prefix, "read_uncommitted")) == sorted(all_of_them + lost)
    assert {line["outcome"] for line in committed} == {"indexed"}
