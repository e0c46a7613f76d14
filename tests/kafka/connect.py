"""A Kafka Connect worker with the Debezium connector for PostgreSQL and the one for files.

with ConnectWorker(broker.bootstrap) as worker:
    worker.view.create("pages", debezium(postgres, database, prefix="pages"))
"""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.kafka import java, properties
from tests.kafka.client import fresh_name
from tests.kafka.postgres import USER, Postgres
from tests.kafka.process import CannotStartError, Kept, Service, free_ports, fresh_folder, soon
from tests.kafka.properties import HOST

START_S = 150
STOP_S = 20
ASK_S = 30
RUNNING_S = 60


class RefusedError(Exception):
    """The worker answered with an error: its code, and what it said."""


@dataclass(frozen=True)
class Connect:
    """A running worker as its clients see it. A value: every worker of a run can have one."""

    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Ask the worker's REST interface. Raise RefusedError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ASK_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise RefusedError(error.code, error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None

    def create(self, name: str, config: Mapping[str, str]) -> None:
        """Create a connector, and wait until it and its first task run. Raise CannotStartError with what it says."""
        self.ask("/connectors", "POST", {"name": name, "config": config})
        if not soon(lambda: self.states(name) == ["RUNNING", "RUNNING"] or "FAILED" in self.states(name), RUNNING_S):
            raise CannotStartError(f"connector {name} does not run: {self.states(name)}")
        if "FAILED" in self.states(name):
            raise CannotStartError(f"connector {name}: {self.ask(f'/connectors/{name}/status')}")

    def states(self, name: str) -> list[str]:
        """The state of the connector, then of each task; nothing while the worker does not know yet."""
        try:
            status = self.ask(f"/connectors/{name}/status")
        except RefusedError:
            return []
        return [status["connector"]["state"], *(task["state"] for task in status["tasks"])]

    def delete(self, name: str) -> None:
        self.ask(f"/connectors/{name}", "DELETE")


def debezium(postgres: Postgres, database: str, prefix: str, **more: str) -> dict[str, str]:
    """Follow every table of a database into topics `<prefix>.<schema>.<table>`; `more` settings with `_` for `.`."""
    slot = fresh_name("slot").replace("-", "_")
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "database.hostname": HOST,
        "database.port": str(postgres.port),
        "database.user": USER,
        "database.password": "any",
        "database.dbname": database,
        "topic.prefix": prefix,
        "plugin.name": "pgoutput",
        "slot.name": slot,
        "publication.name": slot,
        "publication.autocreate.mode": "all_tables",
        # What a test deletes shall be gone before it drops the database.
        "slot.drop.on.stop": "true",
        # The broker makes no topics by itself.
        "topic.creation.default.replication.factor": "1",
        "topic.creation.default.partitions": "1",
        **{name.replace("_", "."): value for name, value in more.items()},
    }


class ConnectWorker(Service):
    """One worker, a group of its own."""

    def __init__(self, bootstrap: str, *, heap: str = "384m", owner: int | None = None) -> None:
        self.folder = fresh_folder("connect", owner)
        self.bootstrap = bootstrap
        self._port = free_ports(1)[0]
        self._heap = heap
        self._owner = owner
        self._process: Kept | None = None

    @property
    def view(self) -> Connect:
        return Connect(self._port)

    @property
    def log(self) -> Path:
        return self.folder / "connect.log"

    @property
    def process(self) -> Kept:
        if self._process is None:
            raise CannotStartError("the worker was not started")
        return self._process

    def start(self) -> Self:
        # A folder of plugins, each of which is a folder of jars.
        plugin = self.folder / "plugins" / "debezium"
        plugin.parent.mkdir()
        plugin.symlink_to(java.home() / "debezium")
        settings, logging = self.folder / "worker.properties", self.folder / "log4j2.xml"
        settings.write_text(properties.text(self.properties()))
        logging.write_text(properties.LOG4J)
        command = java.command(
            "org.apache.kafka.connect.cli.ConnectDistributed",
            str(settings),
            heap=self._heap,
            archived="connect",
            options=[f"-Dlog4j2.configurationFile={logging}", *self.jvm_options()],
        )
        self._process = Kept(command, log=self.log, owner=self._owner, folder=self.folder)
        self._process.await_ready(self._answers, START_S)
        return self

    def jvm_options(self) -> Sequence[str]:
        """More options for the JVM; nothing here."""
        return ()

    def properties(self) -> dict[str, str]:
        group = fresh_name("connect")
        converters = {f"{what}.converter": "org.apache.kafka.connect.json.JsonConverter" for what in ("key", "value")}
        schemaless = {f"{what}.converter.schemas.enable": "false" for what in ("key", "value")}
        topics = {f"{what}.storage.topic": f"{group}-{what}" for what in ("config", "offset", "status")}
        return {
            "bootstrap.servers": self.bootstrap,
            "group.id": group,
            "listeners": f"http://{HOST}:{self._port}",
            "rest.advertised.host.name": HOST,
            "plugin.path": str(self.folder / "plugins"),
            # What the jars declare; to scan every class of them takes seconds.
            "plugin.discovery": "service_load",
            "offset.flush.interval.ms": "500",
            "scheduled.rebalance.max.delay.ms": "0",
            "config.storage.replication.factor": "1",
            "offset.storage.replication.factor": "1",
            "offset.storage.partitions": "1",
            "status.storage.replication.factor": "1",
            "status.storage.partitions": "1",
            "topic.creation.enable": "true",
            **converters,
            **schemaless,
            **topics,
        }

    def _answers(self) -> bool:
        # 404 until the worker has joined its group.
        try:
            return isinstance(self.view.ask("/connectors"), list)
        except (RefusedError, OSError):
            return False

    def leave(self) -> None:
        """Let it run until its owner's end."""
        self.process.leave()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
