"""The command line, watched: whatever it says, no text of a document and no secret may be in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.cli.process import Cli

MEASURE = Path(__file__).with_name("measure.py")

#: Stands in every document's text, and in the environment.
MARKER = "xyzzymarker"
SECRET = "xyzzysecret"

CONFIG = """\
log: sqlite:///log.db
streams:
  notes:
    recipe:
      embed: {model: hash}
      payload: {kind: {from: kind, required: true}}
    index: sqlite:///index.db
"""


class Measured(NamedTuple):
    """A process that has ended: what it said, and the most memory that it held."""

    stdout: str
    stderr: str
    peak_mib: int


class WatchedCli(Cli):
    """Calls `headwater`, and keeps what it says on stderr."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)
        self.environment["XYZZY_SECRET"] = SECRET
        self.said: list[str] = []

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = super().__call__(*arguments, code=code, stdin=stdin, **environment)
        self.said.append(done.stderr)
        return done

    def measured(self, *arguments: str, code: int = 0) -> Measured:
        """Call it, and measure it."""
        peak = self.folder / "peak"
        done = subprocess.run(
            [sys.executable, str(MEASURE), str(peak), sys.executable, "-m", "headwater", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.said.append(done.stderr)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stderr}"
        return Measured(done.stdout, done.stderr, int(peak.read_text()) >> 10)

    def publish(self, *changes: dict[str, Any] | bytes, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Publish changes, one a line; bytes as they are."""
        lines = [change if isinstance(change, bytes) else json.dumps(change).encode() for change in changes]
        path = self.folder / "changes.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return self("publish", "notes", path.name, code=code)

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return what is exported, by id, fences too."""
        lines = self.lines("export", "notes", "--jsonl", "--deleted")
        found = {line["id"]: line for line in lines}
        assert len(found) == len(lines)
        return found

    def texts(self) -> dict[str, str]:
        """Return each live document's text, as far as its chunks hold it."""
        return {
            name: " ".join(chunk["text"] for chunk in line["chunks"])
            for name, line in self.documents().items()
            if not line["deleted"]
        }

    def dead(self) -> dict[str, str]:
        """Return the open dead letters' reasons, by id."""
        return {letter["id"]: letter["reason"] for letter in self.json("dead", "list", "notes", "--json")["dead"]}

    def outcomes(self, name: str) -> list[str]:
        """Return what became of a document's changes, in order."""
        return [line["outcome"] for line in self.json("trace", "notes", name, "--json")["receipts"]]

    def status(self) -> Any:
        return self.json("status", "notes", "--json")["streams"]["notes"]

    def check_silence(self) -> None:
        """Nothing that was said, and no lock file, holds a text or a secret."""
        said = "".join(self.said) + "".join(path.read_text() for path in self.folder.rglob("*.lock"))
        for marker in (MARKER, SECRET):
            assert marker not in said, f"{marker} was said:\n{said}"


def upsert(name: str, text: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "text": f"{text} {MARKER}", "kind": "k", **more}


def delete(name: str) -> dict[str, Any]:
    return {"id": name, "op": "delete"}
