"""Another system's topic is redacted when it is read, whatever its format; what goes to Kafka is redacted first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from headwater.clock import SystemClock, SystemIds
from headwater.journal import journal_of
from headwater.log.redaction import RedactingWriter
from headwater.model.change import Change, Record, Undecodable, digest_value
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


def test_what_goes_into_a_topic_of_its_own_is_redacted(tmp_path: Path) -> None:
    path = tmp_path / "headwater.yaml"
    path.write_text(CONFIG)
    journal = journal_of(load(path, {}), SystemClock(), SystemIds())
    writer = journal.writer("own", "")
    assert isinstance(writer, RedactingWriter), "outermost: claim checks get what is left"
    asyncio.run(writer.close())
