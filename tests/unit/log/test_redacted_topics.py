"""Another system's topic is redacted when it is read, whatever its format; what goes to Kafka is redacted first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from headwater.clock import SystemClock, SystemIds
from headwater.errors import Reject
from headwater.journal import journal_of
from headwater.log.codecs.json import unreadable, upsert
from headwater.log.port import SourcePosition
from headwater.model.change import Change, Outgoing, Record, Undecodable, digest_value
from headwater.model.registry import ANY_EPOCH
from headwater.settings.loading import load

pytest.importorskip("confluent_kafka")

CONFIG = """\
log: kafka://127.0.0.1:9
streams:
  rows:
    topic: {name: shop.rows, format: json, envelope: none, text: note}
    recipe: {redact: all}
  plain:
    topic: {name: shop.plain, format: json, envelope: none, text: note}
  own:
    recipe: {redact: email}
"""
OWN = """\
log:
  url: kafka://127.0.0.1:9
  largest: {limit}
  oversized: {{claim_check: ./claims}}
streams:
  own:
    recipe: {{redact: email}}
"""
NOTE = "mail a@example.org, card 4539 1488 0343 6467"


def test_rows_of_a_topic_are_redacted_and_a_key_that_holds_something_is_no_id(tmp_path: Path) -> None:
    path = tmp_path / "headwater.yaml"
    path.write_text(CONFIG)
    journal = journal_of(load(path, {}), SystemClock(), SystemIds())
    value = f'{{"note": "{NOTE}", "owner": {{"phone": 5551234567}}}}'.encode()
    change = journal.decode("rows")(Record(0, 4, b"r1", value, 1), ANY_EPOCH)
    assert isinstance(change, Change)
    assert change.body is not None
    assert change.body["text"] == "mail [email], card [card]"
    assert change.body["owner"] == {"phone": "[phone]"}
    assert change.digest == digest_value(change.body)
    named = journal.decode("rows")(Record(0, 5, b"a@example.org", value, 1), ANY_EPOCH)
    assert isinstance(named, Undecodable)
    assert named.id == "record 0.5"
    untouched = journal.decode("plain")(Record(0, 4, b"r1", value, 1), ANY_EPOCH)
    assert isinstance(untouched, Change)
    assert untouched.body is not None
    assert untouched.body["text"] == NOTE


class Topic:
    """What the Kafka of a test would hold."""

    def __init__(self) -> None:
        self.held: list[Outgoing] = []

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        self.held += changes

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        raise AssertionError(source)

    async def close(self) -> None:
        return


@pytest.mark.parametrize("limit", ["1MiB", "64KiB"])
def test_what_goes_into_a_topic_of_its_own_is_redacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    path = tmp_path / "headwater.yaml"
    path.write_text(OWN.format(limit=limit))
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims/.headwater-claims").touch()
    topic = Topic()
    monkeypatch.setattr("headwater.log.kafka.KafkaLog.writer", lambda *_: topic)
    journal = journal_of(load(path, {}), SystemClock(), SystemIds())
    changes = [
        upsert("a", f"{NOTE} " * 3000, 0, {"a@example.org": "a@example.org"}),
        unreadable("b", "damaged: a@example.org", 0),
    ]

    async def scenario() -> None:
        writer = journal.writer("own", "")
        await writer.append(changes)
        with pytest.raises(Reject):
            await writer.append([upsert("a@example.org", "x", 0)])
        await writer.close()

    asyncio.run(scenario())
    assert [it.key for it in topic.held] == [b"a", b"b"]
    said = [part for it in topic.held for part in (it.key, it.value or b"", *(value for _, value in it.headers))]
    claims = [it.read_bytes() for it in (tmp_path / "claims").rglob("*") if it.is_file()]
    assert any(b"[email]" in part for part in (said if limit == "1MiB" else claims))
    assert not [part for part in (*said, *claims) if b"@example.org" in part]
