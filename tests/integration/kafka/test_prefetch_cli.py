"""`headwater prefetch` on a log in Kafka: what the worker finds held, and what was deleted meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headwater.rehearsal.record import digest_of
from tests.integration.cli.process import Cli
from tests.kafka.broker import Broker
from tests.provider.provider import Provider

CONFIG = """\
log: {{url: 'kafka://{bootstrap}'}}
cache: {{url: 'sqlite:///cache.db'}}
streams:
  notes: {{partitions: 2, recipe: {{embed: {{model: openai/fake-embedding, url: '{url}/v1', key: k}}}}}}
"""
TEXTS = {f"n{at}": f"note number {at} about tea" for at in range(12)}


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with closing(Cli(tmp_path)) as made:
        yield made


def test_what_was_bought_ahead_is_what_the_worker_uses(
    cli: Cli, start_broker: Callable[..., Broker], provider: Callable[..., Provider]
) -> None:
    service = provider()
    cli.write("headwater.yaml", CONFIG.format(bootstrap=start_broker().bootstrap, url=service.url))
    publish(cli, {**TEXTS, "gone": "it goes before the worker sees it"})
    assert cli.json("prefetch", "notes", "--every", "0.1s", "--json")["held"] == 13
    publish(cli, {"gone": None})
    cli("run", "--once")
    embedded = service.record.embedded()
    assert sum(embedded[digest_of(text)] for text in TEXTS.values()) <= len(TEXTS) + 1  # one compares the model
    assert cli.json("verify", "notes", "--json")["ok"]
    found = cli.json("prefetch", "notes", "--dry-run", "--json")
    assert (found["texts"], found["held"]) == (0, 0)
    assert cli.json("status", "--json")["streams"]["notes"]["embedding"]["batch_tokens"] > 0


def publish(cli: Cli, texts: dict[str, str | None]) -> None:
    lines = [{"id": id_, "text": text} if text else {"id": id_, "op": "delete"} for id_, text in texts.items()]
    cli("publish", "notes", stdin="".join(json.dumps(line) + "\n" for line in lines))
