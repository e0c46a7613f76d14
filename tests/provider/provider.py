"""A faulty provider as a process of its own, that goes when it is not wanted any more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from headwater.rehearsal.record import Record, read_record


class Provider:
    """`url` is where it listens, without a path; `file` its record. It ends when this process does."""

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        folder.mkdir(parents=True)
        written, self.file, self._messages = folder / "plan.json", folder / "record.jsonl", folder / "messages.txt"
        written.write_text(json.dumps(plan))
        arguments = ("fake-provider", str(written), "--record", str(self.file), "--until-stdin-closes")
        with self._messages.open("wb") as messages:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "headwater", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        if not said:
            self.close()
            raise AssertionError(f"the provider did not start: {self._messages.read_text()}")
        self.url: str = json.loads(said)["url"]

    def __repr__(self) -> str:
        return f"Provider({self.url})"

    @property
    def record(self) -> Record:
        """All that was recorded by now: a request stands there before its answer is on its way."""
        return read_record(self.file)

    def behave(self, **changes: Any) -> None:
        """Behave as the plan's base behaviour with these changes from now on; without any, as that."""
        body = json.dumps(changes).encode()
        with urlopen(Request(f"{self.url}/behaviour", data=body, method="PUT"), timeout=10):
            pass

    def close(self) -> None:
        """End it, without waiting for what it has in work. Idempotent."""
        self.process.kill()
        self.process.communicate()
