"""`headwater topics` and `headwater doctor`, as they are typed."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.integration.cli.process import Cli
from tests.integration.kafka.granting import user_with
from tests.kafka.client import Kafka, fresh_name
from tests.kafka.secured import Secured

SETTINGS = {"action", "topic", "purpose", "partitions", "replication", "settings", "alterations", "detail", "cure"}


def configured(folder: Path, bootstrap: str, prefix: str, more: str = "", stream: str = "partitions: 2") -> Cli:
    cli = Cli(folder)
    log = f"{{url: 'kafka://{bootstrap}', prefix: {prefix}{more}}}"
    cli.write("headwater.yaml", f"log: {log}\nstreams:\n  docs: {{{stream}}}\n")
    return cli


@pytest.fixture
def prefix() -> str:
    return fresh_name("hw")


def test_plan_apply_and_the_doctor(tmp_path: Path, kafka: Kafka, prefix: str) -> None:
    cli = configured(tmp_path, kafka.bootstrap, prefix)
    planned = cli("topics", "plan").stdout
    assert f"create   {prefix}.docs.changes" in planned
    assert "retention.ms -1: everything is kept" in planned
    assert "headwater topics apply" in cli("doctor", code=1).stdout
    assert f"made {prefix}.docs.changes" in cli("topics", "apply").stdout
    assert "all topics are as they shall be" in cli("topics", "apply").stderr
    steps = cli.json("topics", "plan", "--json")
    assert {step["action"] for step in steps["steps"]} == {"nothing"}
    assert set(steps["steps"][0]) == SETTINGS
    assert steps["absent"] == []
    found = cli.json("doctor", "--json")
    assert found["ok"]
    assert set(found["findings"][0]) == {"check", "subject", "severity", "what", "why", "next"}


def test_a_refusal_fails_and_the_rest_is_done(tmp_path: Path, kafka: Kafka, prefix: str) -> None:
    kafka.produce(kafka.topic(f"{prefix}.docs.dead"), [(None, b"of others")])
    cli = configured(tmp_path, kafka.bootstrap, prefix)
    done = cli.json("topics", "apply", "--json", code=1)
    assert len(done["done"]) == 4
    assert [step["topic"] for step in done["left"]] == [f"{prefix}.docs.dead"]
    assert "--adopt" in done["left"][0]["cure"]
    assert "declared" in cli("topics", "apply", "--adopt").stdout
    (finding,) = [it for it in cli.json("doctor", "--json", code=1)["findings"] if it["severity"] == "error"]
    assert "a record of the topic of dead letters cannot be read" in finding["what"], "it is still of others"


def test_another_systems_topic(tmp_path: Path, kafka: Kafka, prefix: str) -> None:
    theirs = fresh_name("cdc")
    cli = configured(tmp_path, kafka.bootstrap, prefix, stream=f"topic: {theirs}")
    assert f"{theirs}: cannot be seen" in cli("topics", "apply", code=1).stderr
    kafka.topic(theirs, partitions=3)
    made = cli.json("topics", "apply", "--json")
    assert {step["topic"]: step["partitions"] for step in made["done"]} == {
        f"{prefix}.docs.receipts": 3,
        f"{prefix}.docs.dead": 1,
        f"{prefix}.docs.positions": 1,
    }


def test_the_rights_that_are_printed_are_enough(tmp_path: Path, kafka_secured: Secured, prefix: str) -> None:
    name = fresh_name("operator")
    entered = kafka_secured.scram(name)
    security = (
        ", security: {protocol: sasl_ssl, mechanism: SCRAM-SHA-512, username: "
        f"{name}, password: of-one-test, ca: '{kafka_secured.ca}'}}"
    )
    cli = configured(tmp_path, entered.bootstrap, prefix, security)
    printed = cli("topics", "acl", "--principal", f"User:{name}", "--role", "operator").stdout
    calls = [shlex.split(line) for line in printed.splitlines() if not line.startswith("#")]
    user_with(kafka_secured, name, calls)
    cli("topics", "apply")
    as_json = cli.json("topics", "acl", "--json")
    assert set(as_json["roles"]) == {"worker", "publisher", "reader", "operator"}
    assert as_json["principal"] == "User:headwater"


def test_a_log_in_sqlite_has_no_topics(cli: Cli) -> None:
    cli.write("headwater.yaml", "log: sqlite:///a.db\nstreams: {docs: {}}\n")
    for verb in ("plan", "apply", "acl"):
        assert "a log in SQLite has no topics" in cli("topics", verb, code=3).stderr
    findings = {it["check"]: it for it in cli.json("doctor", "--json")["findings"]}
    assert "brokers" not in findings
    assert findings["worker"]["severity"] == "ok"


def test_brokers_that_are_away(cli: Cli) -> None:
    cli.write("headwater.yaml", "log: kafka://127.0.0.1:1\nstreams: {docs: {}}\n")
    assert not cli.json("doctor", "--json", code=4)["ok"]
    assert "Connection refused" in cli("topics", "plan", code=4).stderr


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)
