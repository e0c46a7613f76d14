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
from tests.kafka.cluster import Cluster
from tests.kafka.connect import Connect, ConnectWorker
from tests.kafka.postgres import Postgres, PostgresServer
from tests.kafka.registry import RegistryServer
from tests.kafka.runwide import State, once
from tests.kafka.secured import LISTENERS, Secured, SecuredBroker
from tests.kafka.tiered import Tiered, TieredBroker

#: A test that uses one of these runs against a real broker.
BROKERS = ("kafka", "start_broker", "kafka_proxied", "kafka_cluster", "kafka_secured", "kafka_tiered", "connect")


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


@pytest.fixture(scope="session")
def kafka_secured(tmp_path_factory: pytest.TempPathFactory) -> Secured:
    """A broker with SCRAM, PLAIN, client certificates, tokens and access lists, that the whole run shares."""
    needs("broker")

    def start(owner: int) -> State:
        broker = SecuredBroker(owner=owner).start()
        broker.leave()
        view = broker.view
        return {"bootstrap": view.client.bootstrap, "certificates": str(view.certificates), **view.listeners}

    state = once(tmp_path_factory, "kafka-secured", start)
    listeners = {name: state[name] for name in LISTENERS}
    return Secured(Kafka(state["bootstrap"]), listeners, Path(state["certificates"]))


@pytest.fixture(scope="session")
def kafka_tiered(tmp_path_factory: pytest.TempPathFactory) -> Tiered:
    """A broker with a remote store, that the whole run shares."""
    needs("broker", "tiered")

    def start(owner: int) -> State:
        broker = TieredBroker(owner=owner).start()
        broker.leave()
        return {"bootstrap": broker.bootstrap, "data": str(broker.data), "remote": str(broker.remote)}

    state = once(tmp_path_factory, "kafka-tiered", start)
    return Tiered(Kafka(state["bootstrap"]), Path(state["data"]), Path(state["remote"]))


@pytest.fixture(scope="session")
def _worker_cluster() -> Iterator[Cluster]:
    needs("broker")
    with Cluster(3, proxied=True) as cluster:
        yield cluster


@pytest.fixture
def kafka_cluster(_worker_cluster: Cluster) -> Iterator[Cluster]:
    """Three brokers, a proxy before each, for this worker alone. What a test breaks is whole again for the next."""
    _worker_cluster.heal()
    yield _worker_cluster
    for broker in _worker_cluster.brokers:
        broker.proxy.heal()


@pytest.fixture(scope="session")
def _worker_broker() -> Iterator[Broker]:
    needs("broker")
    with Broker(proxied=True) as broker:
        yield broker


@pytest.fixture
def kafka_proxied(_worker_broker: Broker) -> Iterator[Broker]:
    """One broker behind a fault proxy, for this worker alone: `.proxied` for the client under test, `.client` to look
    past the proxy, `.proxy` to do harm. What a test breaks is whole again for the next.
    """
    _worker_broker.heal()
    _worker_broker.await_ready()
    yield _worker_broker
    _worker_broker.proxy.heal()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Postgres:
    """A PostgreSQL with logical decoding, that the whole run shares. It comes with a wheel, so it is always there."""

    def start(owner: int) -> State:
        server = PostgresServer(owner=owner).start()
        server.leave()
        return {"port": str(server.view.port), "programs": str(server.view.programs)}

    state = once(tmp_path_factory, "postgres", start)
    return Postgres(int(state["port"]), Path(state["programs"]))


@pytest.fixture(scope="session")
def connect(tmp_path_factory: pytest.TempPathFactory, kafka: Kafka) -> Connect:
    """A Connect worker on the shared broker, with Debezium, that the whole run shares."""
    needs("broker", "debezium")

    def start(owner: int) -> State:
        worker = ConnectWorker(kafka.bootstrap, owner=owner).start()
        worker.leave()
        return {"port": str(worker.view.port)}

    return Connect(int(once(tmp_path_factory, "connect", start)["port"]))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a schema registry that the whole run shares: subjects are named for the test's own topics."""
    needs("registry")

    def start(owner: int) -> State:
        server = RegistryServer(owner=owner).start()
        server.leave()
        return {"url": server.url}

    return once(tmp_path_factory, "registry", start)["url"]


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
