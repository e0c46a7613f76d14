"""The main promise: whatever was written, and whoever died meanwhile, at the end the index equals the table."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Collection
from typing import Any

from tests.cdc.database import PAGE, Writer, rows, session
from tests.cdc.following import KEPT_SLOT, WITHIN_S, Followed, configured, exported, instant, letters, squeezed
from tests.integration.cli.process import Cli
from tests.kafka.client import Kafka, fresh_name
from tests.kafka.connect import ConnectWorker
from tests.kafka.fixtures import needs
from tests.kafka.postgres import Postgres
from tests.kafka.process import soon

ROWS = 200
STREAM: dict[str, Any] = {
    "topic": {
        "envelope": "debezium",
        "text": ["title", "body", "manual"],
        "body": ["title", "price", "updated", "payload"],
    },
    "recipe": {"payload": {name: name for name in ("title", "price", "updated", "payload")}},
}


class Mortal(ConnectWorker):
    """A worker that can be killed, and followed by another one of its group."""

    def __init__(self, bootstrap: str, group: str, flush_ms: int) -> None:
        super().__init__(bootstrap)
        self._group = group
        self._flush_ms = flush_ms

    def properties(self) -> dict[str, str]:
        own = super().properties()
        fresh = own["group.id"]
        kept = {name: value.replace(fresh, self._group) for name, value in own.items()}
        return {**kept, "offset.flush.interval.ms": str(self._flush_ms)}


def test_the_index_equals_the_table_whatever_is_written_and_whoever_dies(
    cli: Cli, kafka: Kafka, postgres: Postgres
) -> None:
    needs("debezium")
    followed = Followed(postgres, kafka, partitions=3, settings=KEPT_SLOT)
    followed.sql(f"{PAGE}; alter table page replica identity full")
    configured(cli, kafka, {"pages": {**STREAM, "topic": {**STREAM["topic"], "name": followed.topic()}}})
    with session(postgres, followed.database) as run:
        writer = Writer(run, seed=4)
        writer.insert(ROWS)
        story(cli, kafka, followed, writer)
    cli("run", "--once")
    assert letters(cli, "pages") == {}
    found, table = exported(cli, "pages"), rows(postgres, followed.database)
    assert len(table) > ROWS / 2
    assert found == {str(row["id"]): document(row) for row in table}
    assert cli.json("verify", "pages", "--json")["ok"]
    absent(cli, writer, found.keys())


def story(cli: Cli, kafka: Kafka, followed: Followed, writer: Writer) -> None:
    """Follow while it is written; in the middle each one ends once."""
    group = fresh_name("mortal")
    # Offsets are kept when it stops in peace, else only after a minute.
    with Mortal(kafka.bootstrap, group, 60_000) as first, writer.writing():
        writer.let(250)
        first.view.create(followed.prefix, followed.config)
        followed.await_topic()
        cli("topics", "apply")
        workers = [cli.start("run", "--log-format", "json") for _ in range(2)]
        writer.go_on(50)
        first.view.ask(f"/connectors/{followed.prefix}/restart?includeTasks=true", "POST")
        writer.go_on(50)
        assert soon(lambda: first.view.states(followed.prefix) == ["RUNNING", "RUNNING"], WITHIN_S)
        writer.go_on(100)
        workers.pop(0).kill()
        followed.sql("alter table page add column note text default 'none'")
        workers.append(cli.start("run", "--log-format", "json"))
        writer.go_on(100)
        first.process.kill()
        # What the dead one had sent since its restart, the next one sends again.
        with Mortal(kafka.bootstrap, group, 500) as second:
            writer.let(100)
            assert soon(lambda: second.view.states(followed.prefix) == ["RUNNING", "RUNNING"], WITHIN_S)
            writer.go_on(50)
            followed.await_delivery()
            second.view.delete(followed.prefix)
            followed.forget()
    assert repeats(followed) > 0
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=WITHIN_S)
        assert worker.returncode == 0, said
        assert '"partitions.moved"' in said


def repeats(followed: Followed) -> int:
    """How many records tell of what another one told already."""
    told = Counter(
        (event["op"], event["source"]["lsn"], json.dumps(event["before"] or event["after"]))
        for event in followed.events()
        if event
    )
    return sum(told.values()) - len(told)


def document(row: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the index shall hold of a row, by this test's own reckoning."""
    text = squeezed("".join(row[column] or "" for column in ("title", "body", "manual")))
    return text, {
        "title": row["title"],
        "price": row["price_text"],
        "updated": row["updated"] and instant(row["updated"]),
        "payload": row["payload_text"],
    }


def absent(cli: Cli, writer: Writer, live: Collection[str]) -> None:
    """Nothing that was deleted is found, not even by its own words."""
    gone = {id_: title for id_, title in writer.gone.items() if title}
    assert len(gone) > 20
    for title in list(gone.values())[-3:]:
        hits = cli.json("search", "pages", title, "-k", "1000", "--json")["hits"]
        assert hits
        assert {hit["id"] for hit in hits} <= set(live)
