"""Fixtures that start real services, for every folder of tests: tests/conftest.py registers them.

Fixtures are session-wide. `kafka` is one broker for all workers of a run, so a test uses topics and groups of its own
(`kafka.topic()`, `kafka.group()`). A test that uses one gets the marker `kafka`. Where `make kafka` was not run it is
skipped, and in CI it fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kafka import java
from tests.kafka.broker import Broker
from tests.kafka.client import Kafka
from tests.kafka.runwide import State, once

#: A test that uses one of these runs against a real broker.
BROKERS = ("kafka", "start_broker")


def needs(*groups: str) -> None:
    """Skip the test that lacks the jars; in CI fail it."""
    if lacking := java.missing(*groups):
        if os.environ.get("CI"):
            pytest.fail(lacking)
        pytest.skip(lacking)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Kafka:
    """A broker that the whole run shares."""
    needs("broker")

    def start(owner: int) -> State:
        broker = Broker(owner=owner).start()
        broker.leave()
        return {"bootstrap": broker.bootstrap}

    return Kafka(once(tmp_path_factory, "kafka", start)["bootstrap"])


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Start a broker of the test's own: to stop it, to kill it, or to set its properties. Takes what `Broker` takes."""
    needs("broker")
    started: list[Broker] = []

    def start(**settings: object) -> Broker:
        broker = Broker(**settings)  # type: ignore[arg-type]
        started.append(broker)
        return broker.start()

    yield start
    for broker in started:
        broker.close()
