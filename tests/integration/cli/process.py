"""The real command line, a process a call, in a folder of its own, with the `hash` model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
log: sqlite:///headwater.db
streams:
  articles:
    source: {folder: ./docs, rescan: 1s}
    recipe:
      embed: {model: hash}
      payload: {title: title}
"""
WITHOUT_SOURCE = """\
streams:
  notes:
    recipe:
      embed: {model: hash}
      payload: {kind: {from: kind, required: true}}
"""


class Cli:
    """Calls `headwater` in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER")}
        self.processes: list[subprocess.Popen[str]] = []

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "headwater", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0, stdin: str = "") -> Any:
        return json.loads(self(*arguments, code=code, stdin=stdin).stdout)

    def lines(self, *arguments: str) -> list[Any]:
        return [json.loads(line) for line in self(*arguments).stdout.splitlines()]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "headwater", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def close(self) -> None:
        """End what was started."""
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdout, process.stderr)):
                pipe.close()

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@contextmanager
def heard(process: subprocess.Popen[str]) -> Iterator[list[str]]:
    """Collect what a process says on stderr as it says it. By the end of the block it must have ended."""
    assert process.stderr is not None
    lines: list[str] = []
    listener = threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True)
    listener.start()
    yield lines
    listener.join(timeout=10)


def until(holds: Callable[[], bool], within_s: float = 30, said: Sequence[str] = ()) -> None:
    """Wait until it holds; if it never does, what a process `said` meanwhile is shown."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "\n".join(["it did not happen in time", *said])
        time.sleep(0.1)


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read stderr up to the line that holds a text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"{text!r} was never said")
