"""The consumer's thread: what it makes of errors that come in the place of records."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError

from headwater.clock import SystemClock
from headwater.errors import Retry, Unreachable
from headwater.log.kafka_intake import ConsumerThread


class Spoken:
    """A message that is an error."""

    def __init__(self, code: int) -> None:
        self._error = KafkaError(code)

    def error(self) -> KafkaError:
        return self._error

    def partition(self) -> int:
        return 0


def heard(code: int) -> ConsumerThread:
    thread = ConsumerThread(unused, "changes", SystemClock(), lambda: None, unused)
    thread._sort(unused, [Spoken(code)])  # type: ignore[arg-type, list-item]  # stand-ins
    return thread


def unused(*_: Any) -> Any:
    raise AssertionError("nobody calls this")


def test_a_broker_that_has_just_started_and_knows_no_topic_yet_halts_nothing() -> None:
    thread = heard(KafkaError.UNKNOWN_TOPIC_OR_PART)
    with pytest.raises(Retry, match="reading changes"):
        thread.check()
    thread.check()


def test_missing_rights_stay_missing() -> None:
    thread = heard(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    for _ in range(2):
        with pytest.raises(Unreachable, match="no rights on the topic changes"):
            thread.check()
