"""The compose file for trying it: reachable from this machine only, and every part of it is one that is there."""

from __future__ import annotations

import os
from typing import Any

import pytest

from headwater.cli.reference import verbs
from headwater.engine.supervisor import Machine
from headwater.settings.loading import load
from headwater.settings.units import duration_s
from tests.deploy.files import COMPOSE, command, compose
from tests.integration.cli.process import Cli
from tests.kafka.broker import Broker
from tests.kafka.client import Kafka
from tests.kafka.fixtures import needs
from tests.kafka.process import free_ports
from tests.kafka.properties import HOST

SERVICES: dict[str, Any] = compose()["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("headwater")]


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


@pytest.mark.parametrize("name", OURS)
def test_ours_can_change_nothing_but_their_data(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert [it for it in service["volumes"] if not it.endswith(":ro")] == ["data:/data"]


def test_the_worker_may_finish_before_it_is_killed() -> None:
    longest_s = 2 * Machine.__struct_defaults__[-1]
    assert duration_s(SERVICES["worker"]["stop_grace_period"]) > longest_s


def test_the_configuration_is_one_and_names_the_broker() -> None:
    settings = load(COMPOSE / "headwater.yaml", os.environ)
    listeners = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert str(settings.log).removeprefix("kafka://") in listeners
    mounts = {it.split(":")[1] for it in SERVICES["worker"]["volumes"]}
    (stream,) = settings.streams.values()
    assert stream.source is not None
    assert str(stream.source.folder) in mounts
    assert str(stream.index.path.parent) in mounts


def on_this_machine(value: str, ports: dict[str, int]) -> str:
    """Put the file's names and ports of a listener on loopback."""
    for listener, port in ports.items():
        value = value.replace(f":{listener}", f":{port}")
    return value.replace("//:", f"//{HOST}:").replace("kafka:", f"{HOST}:")


def test_what_is_started_is_there() -> None:
    for name in OURS:
        assert " ".join(SERVICES[name].get("command", command("CMD")[:1])) in verbs()


@pytest.mark.kafka
def test_a_broker_starts_with_these_settings_and_gets_its_topics(cli: Cli) -> None:
    needs("broker")
    broker = Broker()
    (outside,) = free_ports(1)
    moved = {"19092": broker._node.ports.direct, "9092": outside, "9093": broker._node.ports.controller}
    elsewhere = ("KAFKA_HEAP_OPTS", "KAFKA_LOG_DIRS")
    broker._overrides = {
        key.removeprefix("KAFKA_").lower().replace("_", "."): on_this_machine(value, moved)
        for key, value in SERVICES["kafka"]["environment"].items()
        if key.startswith("KAFKA_") and key not in elsewhere
    }
    with broker:
        for bootstrap in (broker.bootstrap, f"{HOST}:{outside}"):
            client = Kafka(bootstrap)
            topic = client.topic()
            client.produce(topic, [(b"key", b"value")])
            assert len(client.read(topic, 1)) == 1
        name = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].partition("//")[2].partition(",")[0]
        cli.write("headwater.yaml", (COMPOSE / "headwater.yaml").read_text().replace(name, broker.bootstrap))
        for _ in range(2):  # it runs again at every `up`
            cli(*SERVICES["topics"]["command"])
        assert "headwater.articles.changes" in Kafka(broker.bootstrap).admin().list_topics(timeout=10).topics
