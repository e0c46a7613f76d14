"""Headwater's own commands, run as a user runs them: each a process, in the folder of a configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import msgspec

from headwater.errors import HeadwaterError

#: What the commands must not take over from the one who runs the demo.
_NOT_INHERITED = ("HEADWATER_CONFIG",)


class CommandFailed(HeadwaterError):
    """A command ended otherwise than it should."""

    code = "failed"

    def __init__(self, arguments: tuple[str, ...], code: int, complaint: str) -> None:
        super().__init__(f"`headwater {' '.join(arguments)}` ended with exit code {code}: {complaint.strip()}")


class Headwater:
    """The `headwater` command of this very installation. `folder` is where it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        self._environment = {**kept, "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}

    def __repr__(self) -> str:
        return f"Headwater({str(self.folder)!r})"

    def call(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> bytes:
        """Run a command to its end; return what it wrote. Raise CommandFailed on any exit code but `codes`."""
        with self.start(*arguments, output=subprocess.PIPE) as command:
            output, _ = command.process.communicate()
            command.check(codes)
        return output

    def document(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """Run a command that writes one JSON document; return it."""
        return msgspec.json.decode(self.call(*arguments, codes=codes), type=dict[str, Any])

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command that writes a JSON object a line; return them."""
        return msgspec.json.Decoder(dict[str, Any]).decode_lines(self.call(*arguments))

    @contextmanager
    def start(self, *arguments: str, output: int = subprocess.DEVNULL) -> Iterator[Command]:
        """Start a command. It is killed on the way out if it still runs."""
        with (
            TemporaryFile() as messages,
            subprocess.Popen(  # noqa: S603 - this very interpreter and package
                [sys.executable, "-m", "headwater", *arguments],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=messages,
            ) as process,
        ):
            try:
                yield Command(arguments, process, messages)
            finally:
                process.kill()  # nothing to a process that has ended
                process.wait()  # Popen does not wait when an interrupt ends it, and the folder is about to go


class Command:
    """A command that was started. Its messages go into a file, so that it never waits for a reader."""

    def __init__(self, arguments: tuple[str, ...], process: subprocess.Popen[bytes], messages: IO[bytes]) -> None:
        self.process = process
        self._arguments = arguments
        self._messages = messages

    def __repr__(self) -> str:
        return f"Command({self._arguments!r}, process {self.process.pid})"

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it without warning (SIGKILL), and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def check(self, codes: tuple[int, ...] = (0,)) -> None:
        """Raise CommandFailed when it ended with another exit code."""
        if self.process.returncode not in codes:
            self._messages.seek(0)
            complaint = self._messages.read().decode("utf-8", "replace")
            raise CommandFailed(self._arguments, self.process.returncode, complaint)
