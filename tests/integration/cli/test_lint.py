"""`headwater lint` and a configuration that names a Kafka: nothing is asked over the network, no secret is shown."""

from __future__ import annotations

import os

import pytest

from tests.integration.cli.process import Cli

KAFKA = """\
log:
  url: kafka://127.0.0.1:1
  security:
    protocol: sasl_ssl
    mechanism: PLAIN
    username: headwater
    password: hunter2
    ca: ca.pem
streams:
  orders:
    topic: {name: shop.orders, envelope: debezium}
"""


def test_a_kafka_is_not_asked(cli: Cli) -> None:
    cli.write("headwater.yaml", KAFKA)
    cli.write("ca.pem", "")
    assert cli("lint").stderr == "headwater.yaml: no errors\n"


def test_a_certificate_that_is_not_there_yet_is_a_warning(cli: Cli) -> None:
    cli.write("headwater.yaml", KAFKA)
    shape = cli.json("lint", "--json")
    (warning,) = shape["warnings"]
    assert (shape["ok"], warning["path"], warning["line"], warning["column"]) == (True, "log.security.ca", 8, 5)
    assert warning["got"].startswith("there is no file ")
    told = cli("lint").stderr.replace(os.sep, "/")
    assert told.startswith("headwater.yaml:8:5: warning: log.security.ca: there is no file ")
    assert "hunter2" not in told


@pytest.mark.parametrize("verb", [["lint"], ["lint", "--json"], ["status"]])
def test_an_error_shows_no_password(cli: Cli, verb: list[str]) -> None:
    cli.write("headwater.yaml", KAFKA.replace("sasl_ssl", "ssl"))
    failed = cli(*verb, code=3)
    assert "log.security.password" in failed.stdout + failed.stderr
    assert "hunter2" not in failed.stdout + failed.stderr


@pytest.mark.parametrize(
    ("topic", "version", "warns"),
    [
        ("envelope: debezium", "source.lsn", True),
        ("envelope: debezium, id: key.id", "__source_lsn", True),
        ("envelope: debezium", "after.revision", False),
        ("envelope: debezium, id: value.sku", "source.lsn", False),
        ("envelope: none, id: value.sku", "source.lsn", False),
    ],
)
def test_an_order_by_which_changes_may_be_lost_is_a_warning(cli: Cli, topic: str, version: str, *, warns: bool) -> None:
    stream = f"topic: {{name: shop.orders, {topic}}}\n    version: {version}"
    cli.write("headwater.yaml", f"log: kafka://127.0.0.1:1\nstreams:\n  orders:\n    {stream}\n")
    warnings = cli.json("lint", "--json")["warnings"]
    assert [it["path"] for it in warnings] == ["streams.orders.version"] * warns
