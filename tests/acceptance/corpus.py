"""The corpus in memory, the baseline that it is measured against, and the oracle that judges an export of it."""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ORACLE = ROOT / "tests" / "oracle" / "oracle.py"


class Release(NamedTuple):
    """One step of the corpus."""

    version: str
    changes: list[dict[str, Any]]
    folder: Path


class Corpus(NamedTuple):
    """All steps, the load first."""

    releases: list[Release]

    @property
    def changes(self) -> list[dict[str, Any]]:
        return [change for release in self.releases for change in release.changes]

    @property
    def loaded(self) -> dict[str, str]:
        """The texts of the load."""
        return {change["id"]: change["text"] for change in self.releases[0].changes}


def load(folder: Path) -> Corpus:
    with (folder / "changes.jsonl").open(encoding="utf-8") as file:
        grouped = itertools.groupby(map(json.loads, file), key=lambda change: str(change["release"]))
        steps = [(version, list(changes)) for version, changes in grouped]
    return Corpus(
        [
            Release(version, changes, folder / "releases" / f"{number}-{version}")
            for number, (version, changes) in enumerate(steps, start=1)
        ]
    )


def measuring() -> ModuleType:
    """tools/measure_reuse.py, which holds the baseline."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("measure_reuse")
    finally:
        sys.path.pop(0)


def judged(published: Iterable[dict[str, Any]], export: bytes, folder: Path) -> str:
    """What the oracle says about an export: nothing when it is right. A process that knows nothing of Headwater."""
    changes, exported = folder / "published.jsonl", folder / "exported.jsonl"
    with changes.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(change) + "\n" for change in published)
    exported.write_bytes(export)
    command = [sys.executable, "-I", str(ORACLE), str(changes), str(exported)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if done.stdout else 0), done.stderr
    return done.stdout
