"""A real broker: it keeps what it acknowledged, and nothing of it outlives the test run."""

from __future__ import annotations

from collections.abc import Callable

from tests.kafka.broker import Broker
from tests.kafka.client import Kafka


def test_what_was_acknowledged_is_read_back_in_order(kafka: Kafka) -> None:
    topic = kafka.topic(partitions=1)
    records = [(b"key", str(number).encode()) for number in range(100)]
    assert kafka.produce(topic, records) == list(range(100))
    found = kafka.read(topic, 100)
    assert [(it.key(), it.value()) for it in found] == records


def test_a_killed_broker_comes_back_with_its_data(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker()
    topic = broker.client.topic()
    broker.client.produce(topic, [(b"key", b"kept")])
    broker.kill()
    assert not broker.is_running()
    broker.start()
    assert [it.value() for it in broker.client.read(topic, 1)] == [b"kept"]
