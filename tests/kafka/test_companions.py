"""What stands beside a broker in tests: a database whose changes are followed, a Connect worker, a schema registry."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from tests.kafka import postgres as module
from tests.kafka.client import Kafka, fresh_name
from tests.kafka.connect import Connect, RefusedError, debezium
from tests.kafka.postgres import Postgres, PostgresServer
from tests.kafka.process import soon


def test_changes_of_a_database_can_be_followed(postgres: Postgres) -> None:
    database = postgres.database()
    postgres.sql("create table page (id int primary key, body text)", database)
    slot = f"slot_{database}"
    postgres.sql("create publication all_pages for all tables", database)
    postgres.sql(f"select pg_create_logical_replication_slot('{slot}', 'pgoutput')", database)
    postgres.sql("insert into page values (1, 'one'), (2, 'two')", database)
    options = "'proto_version', '1', 'publication_names', 'all_pages'"
    followed = postgres.sql(
        f"select count(*) from pg_logical_slot_peek_binary_changes('{slot}', null, null, {options})", database
    )
    assert int(followed) > 0
    assert postgres.sql("select body from page order by id", database) == "one\ntwo"
    postgres.sql(f"select pg_drop_replication_slot('{slot}')", database)


def test_a_statement_that_fails_is_raised_with_its_cause(postgres: Postgres) -> None:
    with pytest.raises(AssertionError, match="does not exist"):
        postgres.sql("select * from nothing")


def test_a_wheel_that_nobody_may_reach_is_copied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel, hidden = module.installed(), tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    for name in (wheel.name, f"{wheel.name}.libs"):
        (hidden / name).symlink_to(wheel.parent / name)
    monkeypatch.setattr(module, "installed", lambda: hidden / wheel.name)
    with PostgresServer() as server:
        assert server.view.sql("select 1") == "1"


def test_debezium_tells_of_what_was_there_and_of_what_changes(
    connect: Connect, kafka: Kafka, postgres: Postgres
) -> None:
    database, prefix = postgres.database(), fresh_name("pages")
    postgres.sql("create table page (id int primary key, body text); insert into page values (1, 'one')", database)
    connect.create(prefix, debezium(postgres, database, prefix))
    topic = f"{prefix}.public.page"
    assert soon(lambda: topic in kafka.admin().list_topics(timeout=10).topics, 30)
    assert len(kafka.read(topic, 1)) == 1
    postgres.sql("update page set body = 'two'; delete from page", database)
    found = [json.loads(value) if (value := it.value()) else None for it in kafka.read(topic, 4)]
    assert [it and (it["op"], it["after"] and it["after"]["body"]) for it in found] == [
        ("r", "one"),
        ("u", "two"),
        ("d", None),
        None,
    ]
    connect.delete(prefix)


def test_a_connector_that_cannot_start_says_why(connect: Connect) -> None:
    with pytest.raises(RefusedError, match=r"no\.such\.Connector"):
        connect.create("nothing", {"connector.class": "no.such.Connector"})


def test_the_registry_keeps_schemas_and_their_compatibility(registry: str) -> None:
    subject = fresh_name("pages") + "-value"
    with SchemaRegistryClient({"url": registry, "timeout": 30}) as client:
        number = client.register_schema(subject, avro('{"name": "body", "type": "string"}'))
        assert "body" in (client.get_schema(number).schema_str or "")
        client.set_compatibility(subject, "BACKWARD")
        assert not client.test_compatibility(subject, avro('{"name": "title", "type": "string"}'))
        client.delete_subject(subject)
        assert subject not in client.get_subjects()


def avro(field: str) -> Schema:
    return Schema(f'{{"type": "record", "name": "Page", "fields": [{field}]}}', "AVRO")
