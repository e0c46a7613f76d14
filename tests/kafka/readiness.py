"""When is a broker ready? When metadata names every broker and a record was acknowledged; an open port says little."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

#: A topic of the harness's own, so that readiness is asked by doing what clients do.
TOPIC = "harness-ready"
ASK_S = 2.0
#: Internal topics, which a broker makes at the first group and the first transaction: that costs the first one seconds.
INTERNAL = ("__consumer_offsets", "__transaction_state")
INTERNAL_PARTITIONS = 4

_QUIET: dict[str, Any] = {"log_level": 0, "socket.timeout.ms": 2000, "error_cb": lambda _error: None}


def answers(bootstrap: str, brokers: int, settings: dict[str, str] | None = None) -> bool:
    """Ask once: True when `brokers` are there and one of them took a record."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **_QUIET, **(settings or {})})
    try:
        found = admin.list_topics(timeout=ASK_S)
        if len(found.brokers) < brokers:
            return False
        if TOPIC not in found.topics:
            compacted = {"cleanup.policy": "compact", "segment.bytes": "104857600"}
            internal = (NewTopic(name, INTERNAL_PARTITIONS, config=compacted) for name in INTERNAL)
            create(admin, NewTopic(TOPIC, 1), *internal)
        return acknowledges(bootstrap, settings)
    except KafkaException:
        return False


def create(admin: AdminClient, *topics: NewTopic, timeout_s: float = 10) -> None:
    """Create topics, and wait until each has been; one that exists already is no error."""
    for future in admin.create_topics(list(topics), operation_timeout=timeout_s, request_timeout=timeout_s).values():
        try:
            future.result(timeout_s)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def acknowledges(bootstrap: str, settings: dict[str, str] | None) -> bool:
    taken: list[bool] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        # `is`: a KafkaError compared with None by `==` leaves an exception behind that comes up somewhere else.
        taken.append(error is None)

    producer = Producer({"bootstrap.servers": bootstrap, "message.timeout.ms": 3000, **_QUIET, **(settings or {})})
    producer.produce(TOPIC, b"ready", on_delivery=delivered)
    producer.flush(4)
    return taken == [True]
