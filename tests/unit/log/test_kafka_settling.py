"""Settling when librdkafka does not come back."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from headwater.errors import Retry
from headwater.log import kafka_settling
from headwater.log.kafka_settling import Settler


class Member:
    """A reader that holds everything."""

    def commit(self, _places: list[Any]) -> None:
        return None

    def membership(self, *, newer: bool = False) -> object:
        return object()


class Producer:
    """A client of which the first waits for a coordinator for ever."""

    made = 0
    committed: list[int]
    back: threading.Event

    def __init__(self, _settings: object) -> None:
        Producer.made += 1
        self.number = Producer.made

    def init_transactions(self, _timeout: float) -> None:
        return

    def begin_transaction(self) -> None:
        return

    def send_offsets_to_transaction(self, *_: object) -> None:
        if self.number == 1:
            self.back.wait()

    def commit_transaction(self, _timeout: float) -> None:
        self.committed.append(self.number)


def test_a_settlement_that_hangs_is_begun_anew_with_another_client(monkeypatch: pytest.MonkeyPatch) -> None:
    Producer.made, Producer.committed, Producer.back = 0, [], threading.Event()
    monkeypatch.setattr(kafka_settling, "Producer", Producer)
    monkeypatch.setattr(kafka_settling, "STUCK_S", 0.05)

    async def story() -> None:
        settler = Settler({}, "changes", "transactional", "id")
        with pytest.raises(Retry, match="settling takes too long"):
            await settler.settle(Member(), [], {0: 5})
        await settler.settle(Member(), [], {0: 5})
        assert Producer.committed == [2]
        await settler.close()

    asyncio.run(story())
    Producer.back.set()
