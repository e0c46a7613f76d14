"""Folders to call the command line in."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bad_input.process import CONFIG, WatchedCli


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[WatchedCli]:
    """A stream that is fed by `publish`, with its log and its index in two files."""
    cli = WatchedCli(tmp_path)
    cli.write("headwater.yaml", CONFIG)
    yield cli
    for process in cli.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        cli.said.append(process.communicate()[1])
    cli.check_silence()
