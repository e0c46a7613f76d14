"""Calls of a client: what an answer means, and which answer is believed at once."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from headwater.clock import SystemClock
from headwater.errors import Retry, Unreachable
from headwater.log import kafka_client
from headwater.log.kafka_client import OnThread, Trouble, bounds


class Broker:
    """Fails with these codes, one a call, and then answers."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self._codes:
            raise KafkaException(KafkaError(self._codes.pop(0)))
        return "here"


def ask(broker: Broker) -> str:
    async def call() -> str:
        thread = OnThread("test", Trouble())
        try:
            return await thread.call("asking", broker, "the topic")
        finally:
            await thread.close(lambda: None)

    return asyncio.run(call())


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_client, "_PAUSE_S", 0)


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC])
def test_a_broker_that_has_just_started_and_knows_no_topic_yet_is_asked_again(code: int) -> None:
    broker = Broker(code, code, code)
    assert ask(broker) == "here"
    assert broker.asked == 4


def test_a_topic_that_stays_away_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_client, "MISSING_S", 0.05)
    with pytest.raises(Unreachable, match="no such topic: the topic"):
        ask(Broker(*[KafkaError.UNKNOWN_TOPIC_OR_PART] * 1_000_000))


def test_every_other_answer_is_believed_at_once() -> None:
    broker = Broker(KafkaError.NOT_LEADER_FOR_PARTITION)
    with pytest.raises(Retry):
        ask(broker)
    assert broker.asked == 1


class Consumer:
    """A client that was told of too few partitions by a broker that had just started, until it asks for the topic."""

    def __init__(self) -> None:
        self.listed = 0

    def get_watermark_offsets(self, _place: TopicPartition, **_: object) -> tuple[int, int]:
        if not self.listed:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        return 3, 7

    def list_topics(self, _topic: str, **_: object) -> None:
        self.listed += 1

    def poll(self, _timeout: float) -> None:
        return None


def test_a_client_that_was_told_of_too_few_partitions_asks_anew() -> None:
    consumer = Consumer()
    found = bounds(consumer, TopicPartition("t", 5), Trouble(), SystemClock())  # type: ignore[arg-type]  # a stand-in
    assert (found, consumer.listed) == ((3, 7), 1)


class Returning(Consumer):
    """A client whose only broker is away, comes back after a while, and knows its topics a while after that."""

    def __init__(self, back_s: float, known_s: float) -> None:
        super().__init__()
        self.now_s = 0.0
        self._back_s = back_s
        self._known_s = known_s

    def get_watermark_offsets(self, _place: TopicPartition, **_: object) -> tuple[int, int]:
        if self.now_s < self._known_s:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))
        return 3, 7

    def list_topics(self, _topic: str, **_: object) -> None:
        if self.now_s < self._back_s:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def poll(self, _timeout: float) -> None:
        self.now_s += 0.5

    def monotonic(self) -> float:
        return self.now_s


def test_a_broker_that_comes_back_has_as_long_to_know_its_topics_as_one_that_was_there() -> None:
    consumer = Returning(back_s=kafka_client.MISSING_S + 1, known_s=kafka_client.MISSING_S + 3)
    assert bounds(consumer, TopicPartition("t", 0), Trouble(), consumer) == (3, 7)  # type: ignore[arg-type]  # a stand-in


def test_a_topic_that_a_broker_never_knows_is_missing_and_brokers_that_stay_away_are_an_outage() -> None:
    gone = Returning(back_s=0, known_s=1e9)
    with pytest.raises(KafkaException):
        bounds(gone, TopicPartition("t", 0), Trouble(), gone)  # type: ignore[arg-type]  # a stand-in
    assert kafka_client.MISSING_S < gone.now_s < kafka_client.REQUEST_S
    away = Returning(back_s=1e9, known_s=1e9)
    with pytest.raises(Retry):
        bounds(away, TopicPartition("t", 0), Trouble(), away)  # type: ignore[arg-type]  # a stand-in
