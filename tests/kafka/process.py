"""Processes that a test run starts and that never outlive it, the folders that go with it, and free ports."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

KEEPER = Path(__file__).with_name("keeper.py")
PREFIX = "headwater-kafka-"
#: Below the ports that the kernel gives to outgoing connections, which could take one between the look and the use.
PORTS = range(15_000, 32_000)


class CannotStartError(Exception):
    """A service did not come up; the message ends with the last lines of its log."""


def fresh_folder(name: str, owner: int | None = None) -> Path:
    """A temporary folder that goes with the process `owner` (this one unless named)."""
    sweep()
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{owner or os.getpid()}-{name}-"))


def sweep() -> None:
    """Remove the folders of runs whose process is gone, and which nobody was left to remove."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).split("-", maxsplit=1)[0]
        if owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def free_ports(number: int) -> list[int]:
    """Ports of the loopback address that nothing listens on now."""
    found: list[int] = []
    dice = random.Random(os.urandom(8))
    while len(found) < number:
        port = dice.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def soon(holds: Callable[[], bool], timeout_s: float = 10) -> bool:
    """Whether it holds, now or within the time given."""
    until = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


class Service(ABC):
    """Something that is started and closed: as a context manager it is closed too when it could not be started."""

    @abstractmethod
    def start(self) -> Self: ...

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()


class Kept:
    """A running child of the keeper."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        owner: int | None = None,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        last: signal.Signals = signal.SIGKILL,
    ) -> None:
        """Start `command`, its output appended to `log`. When `owner` (this process) has ended, the child is sent
        `last`, and `folder` is removed.
        """
        self.log = log
        keeping = [str(owner or os.getpid()), str(folder or log.parent), "remove" if folder else "keep"]
        keeping += ["-" if user is None else str(user), str(int(last))]
        with log.open("ab") as out:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(KEEPER), *keeping, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=out,
                env=None if environment is None else {**os.environ, **environment},
            )
        assert self._keeper.stdout is not None
        with self._keeper.stdout as first:
            line = first.readline()
        if not line:
            self._keeper.wait()
            raise CannotStartError(f"cannot run {command[0]}\n{self.tail()}")
        self.pid = int(line)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the child; nothing happens when it has ended."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def is_running(self) -> bool:
        return self._keeper.poll() is None

    def wait(self, timeout_s: float) -> bool:
        """Wait for the child's end; False when it still runs."""
        try:
            self._keeper.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self._keeper.wait()

    def leave(self) -> None:
        """Leave the child to the keeper: Python shall not complain that nobody waited for it."""
        self._keeper.returncode = 0

    def stop(self, timeout_s: float) -> None:
        """SIGTERM, and SIGKILL when it has not ended in time. A paused child is woken first."""
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        if not self.wait(timeout_s):
            self.kill()

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def await_ready(self, ask: Callable[[], bool], timeout_s: float, pause_s: float = 0.1) -> None:
        """Wait until `ask` says yes; kill the child and raise when it ends before, or takes too long."""
        until = time.monotonic() + timeout_s
        while not ask():
            late = time.monotonic() > until
            if late or not self.is_running():
                self.kill()
                said = f"was not ready after {timeout_s:.0f} s" if late else "ended before it was ready"
                raise CannotStartError(f"process {self.pid} {said}; {self.log} ends with\n{self.tail()}")
            time.sleep(pause_s)
