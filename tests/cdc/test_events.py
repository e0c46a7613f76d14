"""Each kind of event by itself, as a real connector writes it: what becomes of it, and what is refused."""

from __future__ import annotations

import random
from typing import Any

from tests.cdc.database import PAGE, large, quoted, session
from tests.cdc.following import (
    FLATTENED,
    KEPT_SLOT,
    WITH_SCHEMAS,
    WITHIN_S,
    Followed,
    configured,
    exported,
    letters,
    outcomes,
)
from tests.integration.cli.process import Cli
from tests.kafka.client import Kafka
from tests.kafka.connect import Connect
from tests.kafka.postgres import Postgres
from tests.kafka.process import soon

TITLED = {"text": "title", "body": ["title"]}


def reading(topic: str, **settings: Any) -> dict[str, Any]:
    return {"name": topic, "envelope": "debezium", **settings}


def texts(cli: Cli, stream: str) -> dict[str, str]:
    return {id_: text for id_, (text, _) in exported(cli, stream).items()}


def follow(cli: Cli, followed: Followed, statements: str) -> None:
    """Let statements come to pass in the database, and in the index."""
    followed.sql(statements)
    followed.await_delivery()
    cli("run", "--once")


def sound(cli: Cli, *streams: str) -> bool:
    return all(cli.json("verify", stream, "--json")["ok"] for stream in streams)


def test_a_large_column_that_was_not_logged(cli: Cli, kafka: Kafka, postgres: Postgres, connect: Connect) -> None:
    followed = Followed(postgres, kafka)
    whole = reading(followed.topic(), text=["title", "manual"], body=["title"])
    titles = reading(followed.topic(), **TITLED)
    configured(cli, kafka, {"pages": {"topic": whole}, "titles": {"topic": titles}})
    dice = random.Random(1)
    first, second = large(dice), large(dice)
    followed.sql(f"{PAGE}; insert into page (id, title, manual) values (1, 'One', '{first}'), (2, 'Two', '{first}')")
    with followed.by(connect):
        followed.await_topic()
        # The column is not touched, so by default the database does not log it: neither here nor when the row moves.
        follow(cli, followed, "update page set title = 'Uno' where id = 1; update page set id = 3 where id = 2")
        assert texts(cli, "titles") == {"1": "Uno", "3": "Two"}
        assert texts(cli, "pages") == {"1": f"One{first}".replace(" ", "")}
        found = letters(cli, "pages")
        assert found.keys() == {"1", "3"}
        for reason in found.values():
            assert "the column `manual` is not in the event" in reason
            assert "REPLICA IDENTITY FULL" in reason
            assert first[:16] not in reason
        # The cure that it names: from now on it is logged. The letters are about older changes, as a retry finds out.
        follow(cli, followed, "alter table page replica identity full; update page set views = 1")
        cli("dead", "retry", "pages", "--all")
        cli("run", "--once")
        assert letters(cli, "pages") == {}
        expected = {"1": f"Uno{first}".replace(" ", ""), "3": f"Two{first}".replace(" ", "")}
        assert texts(cli, "pages") == expected
        # What is not in `body` changes nothing, and nothing is embedded.
        assert outcomes(cli, "titles", "1")[-1] == "unchanged"
        follow(cli, followed, f"update page set manual = '{second}' where id = 1; update page set title = null")
        assert texts(cli, "pages") == {**expected, "1": second.replace(" ", ""), "3": first.replace(" ", "")}
        assert texts(cli, "titles") == {"1": "", "3": ""}
    assert sound(cli, "pages", "titles")


def test_a_truncate(cli: Cli, kafka: Kafka, postgres: Postgres, connect: Connect) -> None:
    followed = Followed(postgres, kafka, settings=KEPT_SLOT)
    configured(cli, kafka, {"pages": {"topic": reading(followed.topic(), **TITLED)}})
    followed.sql(f"{PAGE}; insert into page (id, title) values (1, 'One'), (2, 'Two')")
    with followed.by(connect):
        followed.await_topic()
        follow(cli, followed, "truncate page; insert into page (id, title) values (2, 'Dos')")
        # Nothing tells of it by default, so what it removed stays.
        assert letters(cli, "pages") == {}
        assert texts(cli, "pages") == {"1": "One", "2": "Dos"}
        told = {**followed.config, "skipped.operations": "none"}
        connect.ask(f"/connectors/{followed.prefix}/stop", "PUT")
        assert soon(lambda: connect.states(followed.prefix) == ["STOPPED"], WITHIN_S)
        connect.ask(f"/connectors/{followed.prefix}/config", "PUT", told)
        connect.ask(f"/connectors/{followed.prefix}/resume", "PUT")
        follow(cli, followed, "truncate page; insert into page (id, title) values (3, 'Three')")
        (reason,) = letters(cli, "pages").values()
        assert "a truncate: it removes rows that it does not name" in reason
        assert texts(cli, "pages") == {"1": "One", "2": "Dos", "3": "Three"}
    cli("dead", "discard", "pages", "--all")
    assert letters(cli, "pages") == {}
    assert sound(cli, "pages")


def test_keys_of_two_columns(cli: Cli, kafka: Kafka, postgres: Postgres, connect: Connect) -> None:
    """In order of the log, and in order of the database, which the marker behind a delete does not carry."""
    followed = Followed(postgres, kafka, partitions=3)
    topic = reading(followed.topic("part"), text="title")
    configured(cli, kafka, {"parts": {"topic": topic}, "ordered": {"topic": topic, "version": "source.lsn"}})
    followed.sql(
        "create table part (shelf text, id int, title text, primary key (id, shelf)); "
        "insert into part values ('a', 1, 'A1'), ('a', 2, 'A2'), ('ü', 1, 'Ü1'), ('b', 7, 'B7')"
    )
    with followed.by(connect):
        followed.await_topic("part")
        follow(
            cli,
            followed,
            "delete from part where shelf = 'ü'; update part set shelf = 'c' where shelf = 'b'; "
            "delete from part where id = 2; insert into part values ('a', 2, 'A2 again'); "
            "update part set title = 'A1 changed' where shelf = 'a' and id = 1",
        )
    expected = {
        '{"id":1,"shelf":"a"}': "A1changed",
        '{"id":2,"shelf":"a"}': "A2again",
        '{"id":7,"shelf":"c"}': "B7",
    }
    for stream in ("parts", "ordered"):
        assert texts(cli, stream) == expected
        assert letters(cli, stream) == {}
    assert sound(cli, "parts", "ordered")


def test_values_with_their_schemas(cli: Cli, kafka: Kafka, postgres: Postgres, connect: Connect) -> None:
    """Ids of a field of the key, no marker behind a delete, and numerics as they come by default: as bytes."""
    more = {"decimal_handling_mode": "precise", "tombstones_on_delete": "false"}
    followed = Followed(postgres, kafka, settings=WITH_SCHEMAS | more)
    topic = reading(followed.topic(), id="key.id", text="title", body=["title", "price"])
    stream = {"topic": topic, "recipe": {"payload": {"price": "price"}}}
    configured(cli, kafka, {"pages": stream, "ordered": {**stream, "version": "source.lsn"}})
    followed.sql(f"{PAGE}; insert into page (id, title, price) values (1, 'One', 12.34), (2, 'Two', 0)")
    with followed.by(connect):
        followed.await_topic()
        follow(cli, followed, "update page set title = 'Uno' where id = 1; delete from page where id = 2")
    events = followed.events()
    assert "schema" in events[0]
    assert None not in events
    for name in ("pages", "ordered"):
        assert exported(cli, name) == {"1": ("Uno", {"price": "BNI="})}
    assert sound(cli, "pages", "ordered")


def test_rows_flattened(cli: Cli, kafka: Kafka, postgres: Postgres, connect: Connect) -> None:
    followed = Followed(postgres, kafka, settings=FLATTENED)
    topic = reading(followed.topic(), text="title")
    stream = {"topic": topic, "recipe": {"payload": {"views": "views"}}}
    configured(cli, kafka, {"pages": stream, "ordered": {**stream, "version": "__source_lsn"}})
    followed.sql(f"{PAGE}; insert into page (id, title) values (1, 'One'), (2, 'Two'), (3, 'Three')")
    with followed.by(connect):
        followed.await_topic()
        follow(
            cli,
            followed,
            "update page set title = 'Uno', views = 5 where id = 1; delete from page where id = 2; "
            "update page set id = 4 where id = 3",
        )
    for name in ("pages", "ordered"):
        assert exported(cli, name) == {"1": ("Uno", {"views": 5}), "4": ("Three", {"views": 0})}
        assert letters(cli, name) == {}
    assert sound(cli, "pages", "ordered")


def test_a_transaction_across_the_snapshot(cli: Cli, kafka: Kafka, postgres: Postgres, connect: Connect) -> None:
    """A change may be written before the place of the snapshot in the database's log, and committed after it.

    The snapshot's row is the older one although its `lsn` is greater. So the log's order is right, and `source.lsn` is
    not: with it the change is lost.
    """
    followed = Followed(postgres, kafka)
    topic = reading(followed.topic(), **TITLED)
    configured(cli, kafka, {"pages": {"topic": topic}, "ordered": {"topic": topic, "version": "source.lsn"}})
    followed.sql(f"{PAGE}; insert into page (id, title) values (1, 'old'), (2, 'other')")
    slots = f"select count(*) from pg_replication_slots where slot_name = '{followed.config['slot.name']}'"
    with (
        session(postgres, followed.database) as one,
        session(postgres, followed.database) as two,
        session(postgres, followed.database) as three,
    ):

        def awaited(xid: str) -> bool:
            question = f"select count(*) from pg_locks where not granted and transactionid::text = {quoted(xid)}"
            return followed.sql(question) == "1"

        # The slot waits for what is open when it begins, then for what is open then. What begins later it follows.
        first = one("begin; select txid_current()")
        connect.ask("/connectors", "POST", {"name": followed.prefix, "config": followed.config})
        assert soon(lambda: followed.sql(slots) == "1" and awaited(first), WITHIN_S)
        second = two("begin; select txid_current()")
        one("commit")
        assert soon(lambda: awaited(second), WITHIN_S)
        three("begin; update page set title = 'new' where id = 1")
        two("commit")
        followed.await_topic()
        assert soon(lambda: len(followed.events()) == 2, WITHIN_S)
        three("commit")
    follow(cli, followed, "select 1")
    connect.delete(followed.prefix)
    followed.forget()
    assert [(it["op"], it["after"]["title"]) for it in followed.events()] == [
        ("r", "old"),
        ("r", "other"),
        ("u", "new"),
    ]
    assert texts(cli, "pages") == {"1": "new", "2": "other"}
    # The log has it as lost, so `verify` cannot see it: only `lint` warns.
    assert texts(cli, "ordered") == {"1": "old", "2": "other"}
    assert sound(cli, "pages", "ordered")
    (warning,) = cli.json("lint", "--json")["warnings"]
    assert warning["path"] == "streams.ordered.version"


def test_what_is_said_of_a_topic_of_debezium(cli: Cli, kafka: Kafka, postgres: Postgres, connect: Connect) -> None:
    compacted = {"topic_creation_default_cleanup_policy": "compact"}
    followed = Followed(postgres, kafka, partitions=2, settings=compacted)
    configured(cli, kafka, {"pages": {"topic": reading(followed.topic(), **TITLED)}})
    followed.sql(f"{PAGE}; insert into page (id, title) values (1, 'One')")
    with followed.by(connect):
        followed.await_topic()
    before = kafka.admin().list_topics(timeout=10).topics[followed.topic()]
    planned = {step["topic"]: step for step in cli.json("topics", "plan", "--json")["steps"]}
    assert followed.topic() not in planned
    cli("topics", "apply", "--adopt", "--grow", "--trim")
    after = kafka.admin().list_topics(timeout=10).topics[followed.topic()]
    assert len(after.partitions) == len(before.partitions) == 2
    found = [it for it in cli.json("doctor", "--json")["findings"] if it["subject"] == followed.topic()]
    assert {it["check"]: it["severity"] for it in found} == {"retention": "ok", "rights": "ok"}
