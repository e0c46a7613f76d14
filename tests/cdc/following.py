"""Debezium on a database, Headwater behind it, and what both have come to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any

from confluent_kafka import Message, TopicPartition

from tests.integration.cli.process import Cli
from tests.kafka.client import Kafka, fresh_name
from tests.kafka.connect import Connect, debezium
from tests.kafka.postgres import Postgres
from tests.kafka.process import soon

WITHIN_S = 60
#: Settings of a connector, with `_` for `.`.
NO_MORE: Mapping[str, str] = MappingProxyType({})
#: A slot outlives its connector, as it must where changes are not to be lost between two runs of it.
KEPT_SLOT = {"slot_drop_on_stop": "false"}
READABLE = {"decimal_handling_mode": "string"}
WITH_SCHEMAS = {
    "key_converter": "org.apache.kafka.connect.json.JsonConverter",
    "key_converter_schemas_enable": "true",
    "value_converter": "org.apache.kafka.connect.json.JsonConverter",
    "value_converter_schemas_enable": "true",
}
FLATTENED = {
    "transforms": "unwrap",
    "transforms_unwrap_type": "io.debezium.transforms.ExtractNewRecordState",
    "transforms_unwrap_delete_tombstone_handling_mode": "rewrite",
    "transforms_unwrap_add_fields": "source.lsn",
}


class Followed:
    """A database with a connector on it. Its tables' topics are `PREFIX.public.TABLE`."""

    def __init__(
        self, postgres: Postgres, kafka: Kafka, *, partitions: int = 1, settings: Mapping[str, str] = NO_MORE
    ) -> None:
        self.postgres = postgres
        self.kafka = kafka
        self.database = postgres.database()
        self.prefix = fresh_name("cdc")
        self.config = debezium(
            postgres,
            self.database,
            self.prefix,
            topic_creation_default_partitions=str(partitions),
            **READABLE | dict(settings),
        )
        self.sql("create table if not exists beacon (at serial primary key)")

    def sql(self, statements: str) -> str:
        return self.postgres.sql(statements, self.database)

    def topic(self, table: str = "page") -> str:
        return f"{self.prefix}.public.{table}"

    @contextmanager
    def by(self, connect: Connect) -> Iterator[None]:
        connect.create(self.prefix, self.config)
        try:
            yield
        finally:
            connect.delete(self.prefix)
            self.forget()

    def forget(self) -> None:
        """Drop the slot once nobody uses it, if the connector has not: a server has few."""
        mine = f"from pg_replication_slots where slot_name = '{self.config['slot.name']}'"
        soon(lambda: self.sql(f"select count(*) {mine} and active") == "0", WITHIN_S)
        self.sql(f"select pg_drop_replication_slot(slot_name) {mine}")

    def await_topic(self, table: str = "page") -> None:
        """Wait for the topic: Debezium makes it with its first record."""
        assert soon(lambda: self.topic(table) in self.kafka.admin().list_topics(timeout=10).topics, WITHIN_S)

    def await_delivery(self) -> None:
        """Wait until the brokers have acknowledged all that was committed so far: only then does the slot move on.

        It moves to the commit before the newest that was sent, so there must be newer ones.
        """
        until = self.sql("select pg_current_wal_insert_lsn()")
        slot = self.config["slot.name"]
        question = f"select confirmed_flush_lsn >= '{until}' from pg_replication_slots where slot_name = '{slot}'"
        moved = soon(lambda: self.sql(f"insert into beacon default values; {question}") == "t", WITHIN_S)
        assert moved, f"Debezium does not move on: {self.prefix}"

    def events(self, table: str = "page") -> list[Any]:
        """The values of a topic as they stand, None for a delete marker."""
        return [json.loads(value) if (value := it.value()) else None for it in self.records(table)]

    def records(self, table: str = "page") -> list[Message]:
        """All records of a topic, each partition's in order."""
        topic = self.topic(table)
        with self.kafka.consumer([]) as consumer:
            places = [
                TopicPartition(topic, it) for it in consumer.list_topics(topic, timeout=30).topics[topic].partitions
            ]
            number = sum(consumer.get_watermark_offsets(it, timeout=30)[1] for it in places)
        return self.kafka.read(topic, number)


def configured(cli: Cli, kafka: Kafka, streams: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a configuration. JSON is YAML too."""
    log = {"url": f"kafka://{kafka.bootstrap}", "prefix": fresh_name("hw"), "session_timeout": "6s"}
    model = {"embed": {"model": "hash"}}
    whole = {name: {**it, "recipe": {**model, **it.get("recipe", {})}} for name, it in streams.items()}
    cli.write("headwater.yaml", json.dumps({"log": log, "streams": whole}))


def exported(cli: Cli, stream: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """What the index holds: text without its white space, and payload, by id."""
    return {
        line["id"]: (squeezed("".join(chunk["text"] for chunk in line["chunks"])), timed(line["payload"]))
        for line in cli.lines("export", stream)
    }


def squeezed(text: str) -> str:
    """A text without white space: chunks leave some of it out between them."""
    return "".join(text.split())


def timed(payload: dict[str, Any]) -> dict[str, Any]:
    """A payload whose time is one: it is written in more ways than one."""
    return {**payload, "updated": instant(payload["updated"])} if "updated" in payload else payload


def instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def outcomes(cli: Cli, stream: str, document: str) -> list[str]:
    return [receipt["outcome"] for receipt in cli.json("trace", stream, document, "--json")["receipts"]]


def letters(cli: Cli, stream: str) -> dict[str, str]:
    """The reasons of the open dead letters, by document."""
    return {it["id"]: it["reason"] for it in cli.json("dead", "list", stream, "--json")["dead"]}
