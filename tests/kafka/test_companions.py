"""What stands beside a broker in tests: a database whose changes are followed, a Connect worker, a schema registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka import postgres as module
from tests.kafka.postgres import Postgres, PostgresServer


def test_changes_of_a_database_can_be_followed(postgres: Postgres) -> None:
    database = postgres.database()
    postgres.sql("create table page (id int primary key, body text)", database)
    slot = f"slot_{database}"
    postgres.sql(f"select pg_create_logical_replication_slot('{slot}', 'pgoutput')", database)
    postgres.sql("insert into page values (1, 'one'); create publication all_pages for all tables", database)
    postgres.sql("insert into page values (2, 'two')", database)
    options = "'proto_version', '1', 'publication_names', 'all_pages'"
    followed = postgres.sql(
        f"select count(*) from pg_logical_slot_peek_binary_changes('{slot}', null, null, {options})", database
    )
    assert int(followed) > 0
    assert postgres.sql("select body from page order by id", database) == "one\ntwo"


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
