"""`make kafka`, after the jars are there: what a broker's start needs, made once beside them.

    python -m tests.kafka.prepare

The template of a formatted data folder, and an archive of loaded classes, which takes a second of CPU off every start.
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.kafka import java, properties
from tests.kafka.broker import Broker, identifier, ports
from tests.kafka.process import CannotStartError
from tests.kafka.properties import Node

DUMP_S = 180


@contextlib.contextmanager
def alone() -> Iterator[None]:
    with (java.home() / ".preparing").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def template() -> None:
    """Let Kafka format a folder, and keep the one file that is the same for every broker."""
    with tempfile.TemporaryDirectory() as work:
        node = Node(1, ports()[0], Path(work, "data"))
        settings = Path(work, "server.properties")
        settings.write_text(properties.text(properties.server(node, (node,))))
        arguments = ("format", "-t", identifier(), "-c", str(settings))
        java.run(java.command("kafka.tools.StorageTool", *arguments, heap="256m"))
        java.checkpoint().parent.mkdir(exist_ok=True)
        # Into place by a rename: a run beside this one sees all of it or nothing.
        made = java.checkpoint().with_suffix(".new")
        made.write_bytes((node.data / "bootstrap.checkpoint").read_bytes())
        made.rename(java.checkpoint())


class Training(Broker):
    """A broker that writes the archive of its classes when it stops."""

    made = java.archive("broker").with_suffix(".new")

    def jvm_options(self) -> list[str]:
        return [f"-XX:AOTCacheOutput={self.made}"]


def archive() -> None:
    """Without it brokers start too, only slower, so a machine that cannot make it is no error."""
    training = Training(heap="512m")
    try:
        training.start()
        training.process.stop(DUMP_S)
        Training.made.rename(java.archive("broker"))
    except (CannotStartError, FileNotFoundError) as error:
        print(f"kafka: no archive, starts stay slow: {error}", flush=True)
    finally:
        training.close()


def main() -> None:
    with alone():
        if not java.checkpoint().exists():
            print("kafka: formatting a data folder, once", flush=True)
            template()
        if not java.archive("broker").exists():
            print("kafka: archiving the broker's classes, once, for faster starts", flush=True)
            archive()


if __name__ == "__main__":
    main()
