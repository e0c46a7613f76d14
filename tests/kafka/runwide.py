"""One service for a whole test run: the worker that needs it first starts it, the others join, it dies with the run."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

State = dict[str, str]
T = TypeVar("T")


def run_owner() -> int:
    """The process that a run-wide service must not outlive: under xdist the controller, the workers' parent."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see, and no other run."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def once(factory: pytest.TempPathFactory, name: str, start: Callable[[int], State]) -> State:
    """What `start(owner)` said when it was called once in this run, by whichever worker came first."""
    folder = run_folder(factory)
    told = folder / f"{name}.json"
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not told.exists():
            told.write_text(json.dumps(start(run_owner())))
        state: State = json.loads(told.read_text())
        return state
