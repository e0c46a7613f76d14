"""Gaps as a user sees them: one stream halts and says what to do, the others of the configuration go on."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from tests.integration.cli.process import Cli, heard, until
from tests.kafka.broker import Broker
from tests.kafka.client import Kafka, fresh_name

CONFIG = """\
log: {{url: 'kafka://{bootstrap}', prefix: {prefix}}}
streams:
  broken: {{partitions: {partitions}, recipe: {{embed: {{model: hash}}}}}}
  whole: {{partitions: 2, recipe: {{embed: {{model: hash}}}}}}
"""


class Two:
    """Two streams of one configuration, as they are typed."""

    def __init__(self, folder: Path, kafka: Kafka) -> None:
        self.cli = Cli(folder)
        self.kafka = kafka
        self.prefix = fresh_name("two")
        self.admin = kafka.admin()
        self.configure(1)

    def configure(self, partitions: int) -> None:
        text = CONFIG.format(bootstrap=self.kafka.bootstrap, prefix=self.prefix, partitions=partitions)
        self.cli.write("headwater.yaml", text)

    @property
    def changes(self) -> str:
        return f"{self.prefix}.broken.changes"

    def publish(self, stream: str, *ids: str) -> None:
        lines = "".join(json.dumps({"id": it, "text": f"the text of {it}"}) + "\n" for it in ids)
        self.cli("publish", stream, stdin=lines)

    def found(self, stream: str, text: str) -> set[str]:
        return {it["id"] for it in self.cli.json("search", stream, text, "-k", "50", "--json")["hits"]}

    def status(self) -> dict[str, Any]:
        return dict(self.cli.json("status", "--json")["streams"])

    def trim(self, offset: int) -> None:
        for future in self.admin.delete_records([TopicPartition(self.changes, 0, offset)]).values():
            future.result(20)

    def other_goes_on(self, name: str) -> None:
        """Assert that the other stream was worked on in the same run."""
        assert name in self.found("whole", f"the text of {name}")


@pytest.fixture
def two(tmp_path: Path, kafka: Kafka) -> Iterator[Two]:
    made = Two(tmp_path, kafka)
    with closing(made.cli):
        yield made


def test_trimmed_past_the_committed_offset(two: Two) -> None:
    two.publish("broken", "a", "b")
    two.cli("run", "--once")
    two.publish("broken", "c", "d", "e")
    two.publish("whole", "w")
    two.trim(4)
    said = two.cli("run", "--once", code=5).stderr
    print(said)
    assert "broken" in said
    assert "log-truncation-gap: partition 0 is needed from offset 2, and the log begins at 4" in said
    assert "Build a new index from the log" in said
    two.other_goes_on("w")
    assert two.found("broken", "the text of e") == {"a", "b"}
    status = two.status()
    print(status["broken"]["obstacle"])
    assert "log-truncation-gap" in status["broken"]["obstacle"]
    assert status["whole"]["obstacle"] is None


def test_made_anew_under_a_worker_that_serves(two: Two) -> None:
    two.publish("broken", "a")
    two.publish("whole", "w")
    worker = two.cli.start("run")
    with heard(worker) as lines:
        until(lambda: [it["lag"]["records"] for it in two.status().values()] == [0, 0])
        for future in two.admin.delete_topics([two.changes]).values():
            future.result(20)
        until(lambda: _made(two))
        two.kafka.produce(two.changes, [(b"a", b'{"id":"a","text":"another text"}')])
        until(lambda: two.status()["broken"]["obstacle"] is not None, 40)
        print(two.status()["broken"]["obstacle"])
        two.publish("whole", "w2")
        until(lambda: "w2" in two.found("whole", "the text of w2"))
        assert "another" not in two.cli("search", "broken", "another").stdout
        # It looks every 10 s, and is not asked to end before it has.
        until(lambda: any("log-rewind" in line or "no such topic" in line for line in lines), 60)
        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=40)
    said = "".join(lines)
    print(said, worker.returncode)
    assert "log-rewind" in said or "no such topic" in said
    assert worker.returncode in (4, 5)
    last = two.cli("run", "--once", code=5).stderr
    print(last)
    assert "log-rewind: the index was built from another log" in last
    assert "headwater resume broken --accept-log-epoch" in last


def _made(two: Two) -> bool:
    try:
        two.kafka.topic(two.changes)
    except Exception:  # noqa: BLE001 (the old one is still going)
        return False
    return True


def test_a_topic_that_another_system_has_not_made_halts_its_own_stream_only(two: Two) -> None:
    text = CONFIG.format(bootstrap=two.kafka.bootstrap, prefix=two.prefix, partitions=1)
    two.cli.write("headwater.yaml", text.replace("partitions: 1", f"topic: {two.prefix}.not-made"))
    two.publish("whole", "w")
    said = two.cli("run", "--once", code=4).stderr
    print(said)
    assert f"broken halted: kafka: no such topic: {two.prefix}.not-made" in said
    assert two.found("whole", "the text of w") == {"w"}


def test_a_compacted_topic_whose_deletes_carry_their_order_in_the_envelope_is_refused(two: Two) -> None:
    theirs = two.kafka.topic(config={"cleanup.policy": "compact"})
    text = CONFIG.format(bootstrap=two.kafka.bootstrap, prefix=two.prefix, partitions=1)
    stream = f"topic: {{name: {theirs}, envelope: debezium, text: [title]}}, version: source.lsn"
    two.cli.write("headwater.yaml", text.replace("partitions: 1", stream))
    said = two.cli("run", "--once", code=3).stderr
    print(said)
    assert "streams.broken.topic: expected a topic that is not compacted" in said
    assert "which carries no order" in said
    judged = two.cli.json("doctor", "--json", code=1)["findings"]
    assert [it["severity"] for it in judged if it["check"] == "compaction"] == ["error"]


def test_partitions_grown_with_topics_apply(two: Two) -> None:
    two.publish("broken", *(f"d{number}" for number in range(20)))
    two.cli("run", "--once")
    two.configure(2)
    assert "--grow" in two.cli("topics", "apply", code=1).stdout
    grown = two.cli("topics", "apply", "--grow").stdout
    print(grown)
    assert "new log epoch" in grown
    two.publish("broken", *(f"d{number}" for number in range(20)))
    deletes = "".join(json.dumps({"id": f"d{number}", "op": "delete"}) + "\n" for number in range(10))
    two.cli("publish", "broken", stdin=deletes)
    two.cli("run", "--once")
    assert two.found("broken", "the text of d1") == {f"d{number}" for number in range(10, 20)}
    assert two.cli.json("verify", "broken", "--json")["ok"]
    versions = {it["version"].split(".")[0] for it in two.cli.json("search", "broken", "text", "--json")["hits"]}
    assert "2" in versions


def test_a_log_that_was_restored_from_before(tmp_path: Path, start_broker: Callable[..., Broker]) -> None:
    broker = start_broker()
    two = Two(tmp_path, broker.client)
    two.publish("broken", "a", "b")
    two.cli("run", "--once")
    broker.stop()
    topic = broker.data / f"{two.changes}-0"
    backup = tmp_path / "backup"
    shutil.copytree(topic, backup)
    broker.start()
    two.publish("broken", "c", "d", "e")
    two.cli("run", "--once")
    broker.stop()
    shutil.rmtree(topic)
    shutil.copytree(backup, topic)
    broker.start()
    two.admin = broker.client.admin()
    two.publish("whole", "w")
    said = two.cli("run", "--once", code=5).stderr
    print(said)
    assert "log-rewind: the index has seen partition 0 up to offset 5, and the log ends at 2" in said
    assert "headwater resume broken --accept-log-epoch" in said
    two.other_goes_on("w")
    two.publish("broken", "x", "y", "z", "again")
    said = two.cli("run", "--once", code=5).stderr
    print(said)
    assert "log-rewind: partition 0 holds another change before offset 5" in said
    two.cli("resume", "broken", "--accept-log-epoch")
    two.cli("run", "--once")
    # Where the log was restored to is not known: all of it is read again, and nothing behind that place is skipped.
    assert two.found("broken", "the text of again") >= {"x", "y", "z", "again"}
