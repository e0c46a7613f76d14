"""A folder in which something can be put wrong, looked at by the doctor, and put right again."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from headwater.cli.doctor import ways
from headwater.doctor.examination import Examination, examine
from headwater.observability.findings import Finding, Severity
from headwater.settings.templates import template
from tests.integration.cli.process import Cli
from tests.provider.provider import Provider

T = TypeVar("T")

_COMMAND = re.compile(r"`((?:headwater|chmod|ulimit) [^`]+)`")


class Ground:
    """What `headwater init` makes, with a stream `articles`; `loaded` also runs it once."""

    def __init__(self, folder: Path, base: Path, patch: pytest.MonkeyPatch, provider: Callable[..., Provider]) -> None:
        self.folder = folder
        self.patch = patch
        self.provider = provider
        self.cli = Cli(folder)
        self.config = folder / "headwater.yaml"
        self.through_shims = False
        self._base = base
        self._entered = ExitStack()
        self.config.write_text(template())
        (folder / "docs").mkdir()
        (folder / "docs/welcome.md").write_text("# Welcome\n\nEvery file in this folder is a document.\n")

    def close(self) -> None:
        """End what was started."""
        self._entered.close()
        self.cli.close()

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Hold something open while the test runs."""
        return self._entered.enter_context(context)

    def loaded(self) -> None:
        """Bring in what a run has made."""
        for path in self._base.glob("headwater.db*"):
            shutil.copy(path, self.folder)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def edit(self, old: str, new: str) -> None:
        """Edit the configuration."""
        text = self.config.read_text()
        assert old in text, old
        self.config.write_text(text.replace(old, new, 1))

    def include(self, *patterns: str) -> None:
        """Let these files be the stream's documents, in place of those that are now."""
        text = re.sub(r"^ *include: .*\n", "", self.config.read_text(), flags=re.MULTILINE)
        assert text.count("    source:\n") == 1
        line = f"      include: {list(patterns)}\n"
        self.config.write_text(text.replace("    source:\n", f"    source:\n{line}"))

    def embed(self, settings: str) -> None:
        """Let the stream have another model, in place of the one that it has now."""
        text, count = re.subn(r"embed: \{.*\}", lambda _: f"embed: {{{settings}}}", self.config.read_text())
        assert count == 1
        self.config.write_text(text)

    def shim(self, package: str, text: str) -> Path:
        """Put a package before the installed one, for the doctor in a process of its own."""
        made = self.write(f"shims/{package}/__init__.py", text).parent
        python_path = self.cli.environment.get("PYTHONPATH", "")
        self.cli.environment["PYTHONPATH"] = f"{made.parent}:{python_path}"
        self.through_shims = True
        return made

    def examine(self) -> Examination:
        return asyncio.run(examine(self.config, ways()))

    def findings(self) -> list[Finding]:
        """Return what is not in order."""
        if not self.through_shims:
            found = self.examine().findings
        else:
            done = subprocess.run(
                [sys.executable, "-m", "headwater", "doctor", "--json"],
                cwd=self.folder,
                env=self.cli.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout, done.stderr
            found = msgspec.convert(msgspec.json.decode(done.stdout)["findings"], list[Finding])
        return [it for it in found if it.severity is not Severity.OK]

    def follow(self, finding: Finding) -> None:
        """Do what the finding says is to be done next: its first command."""
        found = _COMMAND.search(finding.next)
        assert found, finding.next
        verb, *arguments = shlex.split(found[1])
        if verb == "headwater":
            self.cli(*arguments, *(["--once"] if arguments == ["run"] else []))
        else:
            subprocess.run([verb, *arguments], cwd=self.folder, check=True)

    def set_as_told(self, finding: Finding, now: str) -> None:
        """Write what the finding says of a setting in the place of what the configuration says `now`."""
        found = re.search(rf"`({now.partition(':')[0]}: [^`]+)`", finding.next)
        assert found, finding.next
        self.edit(now, found[1])
