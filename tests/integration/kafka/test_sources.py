"""Two instances of a source on Kafka: the slower one's changes may stand behind newer ones, so they are said again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from headwater.errors import Halt
from headwater.log.kafka_follower import Outgo
from headwater.log.port import DOUBTFUL, SourcePosition
from headwater.model.change import Outgoing
from tests.integration.kafka.logs import Logs
from tests.kafka.client import Kafka


def test_what_the_slower_one_appended_is_doubtful(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = Logs(kafka)
    logs.make()

    async def scenario() -> None:
        slow, quick = logs.writer("s", 1), logs.writer("s", 1)
        append = slow._appender.append
        try:

            async def outrun(topic: str, records: Sequence[Outgo]) -> None:
                monkeypatch.setattr(slow._appender, "append", append)
                await quick.append([Outgoing(b"a", b"newer")], SourcePosition("folder", 0, {b"a": b"2", b"c": b"3"}))
                await append(topic, records)

            monkeypatch.setattr(slow._appender, "append", outrun)
            with pytest.raises(Halt, match="snapshot-race"):
                await slow.append([Outgoing(b"a", b"older")], SourcePosition("folder", 0, {b"a": b"1", b"b": None}))
            serial, entries = await quick.position("folder")
            assert serial == 2
            assert entries == {b"a": DOUBTFUL, b"b": DOUBTFUL, b"c": b"3"}
        finally:
            for writer in (slow, quick):
                await writer.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert [message.value() for message in kafka.read(logs.topic, 2)] == [b"newer", b"older"]
