"""The only broker goes away, for longer than a missing topic is asked for, and comes back: the worker waits."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.cli.process import Cli, heard, until
from tests.kafka.broker import Broker

CONFIG = """\
log: {{url: 'kafka://{bootstrap}'}}
streams:
  notes: {{partitions: 2, recipe: {{embed: {{model: hash}}}}}}
"""


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with closing(Cli(tmp_path)) as made:
        yield made


def test_a_worker_outlives_its_only_broker(cli: Cli, start_broker: Callable[..., Broker]) -> None:
    broker = start_broker()
    cli.write("headwater.yaml", CONFIG.format(bootstrap=broker.bootstrap))
    publish(cli, "a")
    worker = cli.start("run")
    with heard(worker) as said:
        until(lambda: cli.json("status", "--json")["streams"]["notes"]["lag"]["records"] == 0, 60)
        assert found(cli) == {"a"}
        broker.kill()
        until(lambda: any("outage.began" in line for line in said), 60)
        time.sleep(15)  # every client has asked for its topic in vain by then, more than once
        assert worker.poll() is None, said
        assert not any("halted" in line for line in said), said
        broker.restart()
        publish(cli, "b")
        until(lambda: found(cli) == {"a", "b"}, 90, said)
        worker.send_signal(signal.SIGTERM)
        worker.wait(timeout=60)
    assert worker.returncode == 0, said
    assert any("outage.ended" in line for line in said)


def publish(cli: Cli, document: str) -> None:
    cli("publish", "notes", stdin=json.dumps({"id": document, "text": f"the text of {document}"}) + "\n")


def found(cli: Cli) -> set[str]:
    return {it["id"] for it in cli.json("search", "notes", "text", "-k", "9", "--json")["hits"]}
