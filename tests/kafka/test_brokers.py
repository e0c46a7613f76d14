"""Real brokers: they keep what they acknowledged, through kills and faults on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tests.kafka.broker import Broker
from tests.kafka.client import Kafka
from tests.kafka.cluster import Cluster
from tests.kafka.process import soon
from tests.kafka.proxy import TO_BROKER, TO_CLIENT
from tests.kafka.secured import SCRAM_USER, Secured
from tests.kafka.tiered import TIERED, Tiered

QUIET = {"log_level": 0}


def numbered(number: int) -> list[tuple[bytes, bytes]]:
    return [(b"key", str(it).encode()) for it in range(number)]


def test_what_was_acknowledged_is_read_back_in_order(kafka: Kafka) -> None:
    topic = kafka.topic()
    assert kafka.produce(topic, numbered(100)) == list(range(100))
    assert [(it.key(), it.value()) for it in kafka.read(topic, 100)] == numbered(100)


def test_groups_and_transactions_are_served(kafka: Kafka) -> None:
    topic, group = kafka.topic(), kafka.group()
    producer = Producer(kafka.settings(transactional_id=group))
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"aborted")
    producer.abort_transaction(20)
    producer.begin_transaction()
    producer.produce(topic, b"committed")
    producer.commit_transaction(20)
    with kafka.consumer([topic], group_id=group) as consumer:
        message = consumer.poll(20)
        assert message is not None
        assert message.value() == b"committed"
        consumer.commit(message=message, asynchronous=False)


def test_a_killed_broker_comes_back_with_its_data(start_broker: Callable[..., Broker]) -> None:
    broker = start_broker()
    topic = broker.client.topic()
    broker.client.produce(topic, numbered(3))
    broker.kill()
    assert not broker.is_running()
    broker.start()
    assert len(broker.client.read(topic, 3)) == 3


def test_a_killed_leader_loses_nothing_that_was_acknowledged(kafka_cluster: Cluster) -> None:
    topic = kafka_cluster.client.topic()
    leader = kafka_cluster.leader(topic)
    killing = threading.Timer(0.5, leader.kill)
    killing.start()
    acknowledged: list[bytes | None] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            acknowledged.append(message.value())

    producer = Producer(kafka_cluster.client.settings(enable_idempotence="true", **QUIET))
    for number in range(300):
        value = str(number).encode()
        producer.produce(topic, value, on_delivery=delivered)
        producer.poll(0.005)
    assert producer.flush(60) == 0
    killing.join()
    assert kafka_cluster.leader(topic) is not leader
    assert acknowledged == [str(it).encode() for it in range(300)]
    assert [it.value() for it in kafka_cluster.client.read(topic, 300, **QUIET)] == acknowledged
    leader.start()
    assert soon(lambda: kafka_cluster.in_sync(topic) == [1, 2, 3], 30)


def test_answers_that_are_stuck_do_not_double_what_an_idempotent_producer_sent(kafka_proxied: Broker) -> None:
    topic = kafka_proxied.client.topic()
    through = kafka_proxied.proxied
    through.produce(topic, numbered(1))
    kafka_proxied.proxy.stall(TO_CLIENT)
    healing = threading.Timer(3, kafka_proxied.proxy.heal)
    healing.start()
    # Asked again after a second, on a new connection: the first answer never comes in time.
    through.produce(topic, numbered(1), request_timeout_ms=1000, enable_idempotence="true", **QUIET)
    healing.join()
    assert [it.value() for it in kafka_proxied.client.read(topic, 3, timeout_s=1)] == [b"0", b"0"]


def test_a_broker_that_refuses_is_back_after_healing(kafka_proxied: Broker) -> None:
    topic = kafka_proxied.client.topic()
    kafka_proxied.proxy.refuse()
    with pytest.raises(KafkaException, match="timed out"):
        kafka_proxied.proxied.produce(topic, numbered(1), message_timeout_ms=500, **QUIET)
    kafka_proxied.proxy.heal()
    kafka_proxied.proxy.latency(0.05, TO_BROKER)
    assert kafka_proxied.proxied.produce(topic, numbered(1)) == [0]


def test_users_get_in_by_password_certificate_or_token_and_may_do_what_was_allowed(kafka_secured: Secured) -> None:
    topic = kafka_secured.client.topic()
    logins = {
        SCRAM_USER: kafka_secured.scram(),
        "dave": kafka_secured.plain(),
        "carol": kafka_secured.mtls(),
        "erin": kafka_secured.oauth("erin"),
    }
    for user, login in logins.items():
        with pytest.raises(KafkaException, match="authorization"):
            login.produce(topic, numbered(1), **QUIET)
        kafka_secured.allow(user, topic=topic)
        assert len(login.produce(topic, numbered(1), **QUIET)) == 1


@pytest.mark.parametrize("login", ["password", "authority", "certificate"])
def test_a_wrong_login_is_heard_of_by_the_error_callback_alone(kafka_secured: Secured, login: str) -> None:
    ca = str(kafka_secured.wrong_ca)
    client, more, said = {
        "password": (kafka_secured.scram(password="wrong"), {}, "_AUTHENTICATION"),
        "authority": (kafka_secured.scram(), {"ssl_ca_location": ca}, "_SSL"),
        "certificate": (kafka_secured.mtls("stranger"), {}, "certificate required"),
    }[login]
    heard: list[object] = []
    with pytest.raises(KafkaException, match="timed out"):
        client.produce("any", numbered(1), message_timeout_ms=1000, error_cb=heard.append, **more, **QUIET)
    assert any(said in repr(it) for it in heard), heard


def test_closed_segments_move_to_the_remote_store_and_are_read_all_the_same(kafka_tiered: Tiered) -> None:
    topic = kafka_tiered.client.topic(config=TIERED)
    values = [number.to_bytes(4, "big") * 250 for number in range(5000)]
    kafka_tiered.client.produce(topic, [(None, value) for value in values])
    assert soon(lambda: kafka_tiered.remote_segments(topic) >= 4 and kafka_tiered.local_segments(topic) <= 2, 30)
    assert [it.value() for it in kafka_tiered.client.read(topic, 5000)] == values
