"""The lock that keeps two workers from one log file. The kernel frees it when its process dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType

import msgspec

from headwater.clock import Clock
from headwater.errors import Unreachable


class Owner(msgspec.Struct, frozen=True):
    """Who holds the lock, for the message to whoever comes second."""

    pid: int
    host: str
    since_us: int


class WorkerLock:
    """One worker's right to a log file, held from `acquire` to `release`, or to the end of its process.

    It stands beside the log, in `<log>.lock`. That file is never deleted: who deletes it while another waits for it
    lets two in. What it says is for people; the lock itself is the kernel's.
    """

    def __init__(self, log: Path, clock: Clock) -> None:
        self.path = _beside(log)
        self._log = log
        self._clock = clock
        self._file: int | None = None

    def __repr__(self) -> str:
        return f"WorkerLock({str(self.path)!r}, {'free' if self._file is None else 'held'})"

    def acquire(self) -> None:
        """Take the lock at once. Raise Unreachable when another worker has it, and say which."""
        assert self._file is None, "the lock is held already"
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unreachable(
                str(self.path), f"cannot be opened: {error.strerror}", "Check the folder", code="file-unusable"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sign(file)
        except BlockingIOError as error:
            owner = _describe(os.pread(file, 4096, 0))
            os.close(file)
            raise Unreachable(
                str(self._log), f"in use by {owner}", "Stop that one, or wait until it ends", code="in-use"
            ) from error
        except OSError as error:
            os.close(file)
            raise Unreachable(
                str(self.path), f"cannot be locked: {error.strerror}", "Use a local disk", code="file-unusable"
            ) from error
        self._file = file

    def _sign(self, file: int) -> None:
        owner = Owner(os.getpid(), socket.gethostname(), self._clock.now_us())
        os.ftruncate(file, 0)
        os.pwrite(file, msgspec.json.encode(owner) + b"\n", 0)

    def release(self) -> None:
        """Let go of the lock. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> WorkerLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _beside(log: Path) -> Path:
    """Return the lock's path: beside the file itself, whatever links lead to it."""
    return Path(f"{os.path.realpath(log)}.lock")


def holder(log: Path) -> Owner | None:
    """Tell who holds the lock of a log file at the moment, if anybody does. Makes no file."""
    try:
        file = os.open(_beside(log), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        owner = _read(os.pread(file, 4096, 0))
        if owner is None or (owner.host == socket.gethostname() and not _lives(owner.pid)):
            return None  # looked at before the lock, so that looking never stands in a starting worker's way
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return owner
    except OSError:
        return None
    finally:
        os.close(file)
    return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(content: bytes) -> Owner | None:
    try:
        return msgspec.json.decode(content, type=Owner)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _describe(content: bytes) -> str:
    owner = _read(content)
    if owner is None:
        return "another worker"  # it is about to sign
    return f"the worker with process id {owner.pid} on {owner.host}"
