"""A drill's folder: its configurations, its index, what the processes wrote."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.kafka.process import Kept

ROOT = Path(__file__).resolve().parents[2]
STREAM = "articles"
PARTITIONS = 6
SESSION_S = 6.0
CHANGES, RECEIPTS, GROUP = (f"headwater.{STREAM}.changes", f"headwater.{STREAM}.receipts", f"headwater.{STREAM}")

#: In a group of the new protocol the broker decides how long a silent worker is waited for.
BROKER = {
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": str(int(SESSION_S * 1000)),
    "group.consumer.min.heartbeat.interval.ms": "500",
    "group.consumer.heartbeat.interval.ms": "1000",
}


#: A process that is sent SIGABRT shows what each of its threads is at.
ENVIRONMENT = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONFAULTHANDLER": "1"}


class Ground:
    """Where the processes of one drill work. Workers reach the brokers on either of two ways."""

    def __init__(self, folder: Path, direct: str, proxied: str, log: Mapping[str, object]) -> None:
        """`direct` and `proxied` are the brokers' addresses, `log` are more keys of the configuration's log."""
        self.folder = folder
        self._ways = {"direct": direct, "proxied": proxied}
        self._log = log
        self._count = 0
        self.use_index("index.db")

    @property
    def direct(self) -> Path:
        return self.folder / "direct.yaml"

    @property
    def proxied(self) -> Path:
        return self.folder / "proxied.yaml"

    def use_index(self, name: str) -> None:
        """Let the processes that start from now on work on this index."""
        for way, brokers in self._ways.items():
            stream = {
                "partitions": PARTITIONS,
                # No worker may take changes for older than they are on a topic that is compacted all the time.
                "replay": "1s",
                "recipe": {"embed": {"model": "hash"}},
                "index": f"sqlite:///{name}",
            }
            log = {"url": f"kafka://{brokers}", **self._log}
            text = json.dumps({"log": log, "streams": {STREAM: stream}}, indent=2)
            (self.folder / f"{way}.yaml").write_text(text)

    def start(self, name: str, module: str, arguments: Sequence[str]) -> Kept:
        """Start a process that ends with this one. What it writes goes into a file of its own."""
        self._count += 1
        log = self.folder / f"{self._count:04}-{name}.log"
        command = [sys.executable, "-m", module, *arguments]
        return Kept(command, log=log, environment=ENVIRONMENT)

    def headwater(self, *arguments: str, timeout_s: float = 120) -> tuple[bool, str]:
        """Run a verb to its end; tell whether it ended by itself, and what it wrote."""
        kept = self.start(arguments[0], "headwater", ["--config", str(self.direct), *arguments])
        ended = kept.wait(timeout_s)
        kept.kill()
        return ended, kept.log.read_text()
