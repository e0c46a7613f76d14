"""A real Kafka broker for tests, bench and drills.

with Broker() as broker:
    Producer({"bootstrap.servers": broker.bootstrap})
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.kafka import java, properties
from tests.kafka.client import Kafka
from tests.kafka.process import CannotStartError, Kept, Service, free_ports, fresh_folder
from tests.kafka.properties import HOST, Node, Ports
from tests.kafka.proxy import FaultProxy
from tests.kafka.readiness import answers

START_S = 90
STOP_S = 20


def identifier() -> str:
    """A random id as Kafka writes them: 16 bytes in 22 characters."""
    # A leading dash would read as an option on a command line.
    return "k" + base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")[1:]


class Broker(Service):
    """One broker: broker and controller in one process, its data in a folder that goes with the test run."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        overrides: Mapping[str, str] | None = None,
        heap: str = "256m",
        proxied: bool = False,
        listeners: Sequence[str] = (),
        owner: int | None = None,
    ) -> None:
        """`overrides` are server properties. Without `folder` it makes one, which is removed with it. It dies with the
        process `owner` (this one). `proxied` puts a fault proxy before it, which lives in this process.
        """
        self.folder = folder or fresh_folder("broker", owner)
        self._remove = folder is None
        self.ports, self._proxy = ports(*listeners, proxied=proxied)
        self._node = Node(1, self.ports, self.folder / "data")
        self._nodes: Sequence[Node] = (self._node,)
        self._cluster = identifier()
        self._overrides = dict(overrides or {})
        self._heap = heap
        self._owner = owner
        self._process: Kept | None = None

    def join(self, number: int, nodes: Sequence[Node], cluster: str) -> None:
        """Become one of a cluster's nodes; before the start."""
        self._node = Node(number, self.ports, self.folder / "data")
        self._nodes, self._cluster = nodes, cluster

    # ── where it is ──

    @property
    def bootstrap(self) -> str:
        """The address that test code uses, past any proxy."""
        return f"{HOST}:{self.ports.direct}"

    @property
    def client(self) -> Kafka:
        """The short words of a test, spoken to this broker past any proxy."""
        return Kafka(self.bootstrap)

    @property
    def proxy(self) -> FaultProxy:
        """What stands between this broker and the clients that bootstrap through `proxied`."""
        assert self._proxy is not None, "this broker was made without proxied=True"
        return self._proxy

    @property
    def proxied(self) -> Kafka:
        """The broker as seen through its proxy: metadata names the proxy's address too."""
        return Kafka(self.proxy.address)

    @property
    def number(self) -> int:
        """The broker's id, as metadata names it."""
        return self._node.number

    @property
    def node(self) -> Node:
        return self._node

    @property
    def data(self) -> Path:
        return self._node.data

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    @property
    def process(self) -> Kept:
        if self._process is None:
            raise CannotStartError(f"broker {self.number} was not started")
        return self._process

    # ── its life ──

    def start(self, timeout_s: float = START_S) -> Self:
        """Start it, and wait until a record was acknowledged."""
        self.launch()
        self.await_ready(timeout_s)
        return self

    def launch(self) -> None:
        """Start the process without waiting."""
        self._format()
        settings = self.folder / "server.properties"
        settings.write_text(properties.text({**self.properties(), **self._overrides}))
        logging = self.folder / "log4j2.xml"
        logging.write_text(properties.LOG4J)
        command = java.command(
            "kafka.Kafka",
            str(settings),
            heap=self._heap,
            archived="broker",
            options=[f"-Dlog4j2.configurationFile={logging}", *self.jvm_options()],
        )
        removed = self.folder if self._remove else None
        self._process = Kept(command, log=self.log, owner=self._owner, folder=removed)

    def properties(self) -> dict[str, str]:
        """The server's properties, before the overrides."""
        return properties.server(self._node, self._nodes)

    def jvm_options(self) -> Sequence[str]:
        """More options for the JVM; nothing here."""
        return ()

    def await_ready(self, timeout_s: float = START_S, brokers: int | None = None) -> None:
        """Wait until a record was acknowledged while `brokers` were there, all of them unless it says fewer."""
        wanted = len(self._nodes) if brokers is None else brokers
        self.process.await_ready(lambda: answers(self.bootstrap, wanted), timeout_s)

    def _format(self) -> None:
        """Write what Kafka's format tool would, 1.5 seconds faster. Data that is there stays."""
        if (self.data / "meta.properties").exists():
            return
        self.data.mkdir(parents=True, exist_ok=True)
        shutil.copy(java.checkpoint(), self.data / "bootstrap.checkpoint")
        (self.data / "meta.properties").write_text(properties.meta(self._cluster, self.number, identifier()))

    def stop(self) -> None:
        """Shut it down in order; its data stays."""
        self.process.stop(STOP_S)

    def kill(self) -> None:
        """SIGKILL: what a crash of the process looks like."""
        self.process.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send(signal.SIGCONT)

    def restart(self, timeout_s: float = START_S) -> None:
        """Stop it, unless it is down already, and start it on the same data and ports."""
        self.stop()
        self.start(timeout_s)

    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running()

    def heal(self) -> None:
        """Make it whole again after a test: running, awake, no fault in its proxy."""
        if self._proxy is not None:
            self._proxy.heal()
        if self.is_running():
            self.resume()
        else:
            self.launch()

    def leave(self) -> None:
        """Let it run until its owner's end, which its keeper sees to; this object no longer speaks for it."""
        self.process.leave()

    def close(self) -> None:
        """Kill it, and remove the folder if the broker made it."""
        if self._process is not None:
            self._process.kill()
        if self._proxy is not None:
            self._proxy.close()
        if self._remove:
            shutil.rmtree(self.folder, ignore_errors=True)


def ports(*extra: str, proxied: bool = False) -> tuple[Ports, FaultProxy | None]:
    """Free ports for one node, one for each listener named, and the proxy, which listens already."""
    direct, controller, behind, *more = free_ports(3 + len(extra))
    proxy = FaultProxy(behind) if proxied else None
    named = dict(zip(extra, more, strict=True))
    if proxy is None:
        return Ports(direct, controller, extra=named), None
    return Ports(direct, controller, behind, proxy.port, named), proxy
