"""A worker whose parser does what the document says: anything that a parser must not do. Started as a program."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from headwater.documents import worker
from headwater.documents.parsing import Parsers
from headwater.documents.port import Extracted

PROGRAM = ("-P", "-m", "tests.integration.documents.unruly")


def _loop() -> str:
    while True:
        pass


def _flood() -> str:
    return "x" * (100 << 20)


def _pipe() -> str:
    # As a parser that was taken over might: around the channel, to the one pipe that is open.
    (pipe,) = (number for number in range(3, 256) if _is_open(number))
    while True:
        os.write(pipe, bytes(1 << 20))


def _lie() -> str:
    (pipe,) = (number for number in range(3, 256) if _is_open(number))
    os.write(pipe, b"\x93nothing")
    os._exit(0)


def _fork() -> str:
    if os.fork() == 0:
        time.sleep(600)
    return "forked"


def _deeper() -> str:
    return _deeper() + "x"


def _doing(deed: Callable[[], object]) -> Callable[[], str]:
    return lambda: str(deed())


def _kill_the_worker() -> str:
    os.kill(os.getppid(), signal.SIGKILL)
    return _loop()


def _say() -> str:
    os.write(1, b"noise" * 100_000)
    os.write(2, b"noise" * 100_000)
    print("noise" * 100_000)
    return "said"


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _connect() -> str:
    socket.create_connection(("127.0.0.1", 9))
    return "connected"


def _write() -> str:
    Path("/tmp/headwater-unruly").write_text("x")
    return "written"


def _break_out() -> str:
    """Try everything that a parser must not do. Return what could be done."""
    inside = Path("/tmp/headwater-unruly-folder")
    tries: dict[str, Callable[[], object]] = {
        "fork": lambda: os.fork() or os._exit(0),
        "exec": lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"]),
        "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "list": lambda: list(Path("/").iterdir()),
        "unlink": (inside / "a").unlink,
        "rename": lambda: (inside / "a").rename(inside / "b"),
        "rmdir": (inside / "c").rmdir,
        "mkdir": (inside / "d").mkdir,
        "symlink": lambda: (inside / "e").symlink_to("a"),
        "hard link": lambda: (inside / "f").hardlink_to(inside / "a"),
        "socket": socket.socket,
        "signal its parent": lambda: os.kill(os.getppid(), 0),
        "signal init": lambda: os.kill(1, 0),
        "become root": lambda: os.setuid(0) if os.getuid() else 1 / 0,
    }
    done = []
    for name, attempt in tries.items():
        try:
            attempt()
        except OSError:
            continue
        except ZeroDivisionError:
            pass
        done.append(name)
    return " ".join(done)


DEEDS: dict[str, Callable[[], str]] = {
    "loop": _loop,
    "nap": _doing(lambda: time.sleep(2)),
    "sleep": _doing(lambda: time.sleep(600)),
    "stop": _doing(lambda: os.kill(os.getpid(), signal.SIGSTOP)),
    "memory": lambda: str(len(bytearray(3 << 30))),
    "native memory": lambda: str(ctypes.CDLL(None).memset(ctypes.CDLL(None).malloc(3 << 30), 1, 3 << 30)),
    "segfault": lambda: str(ctypes.string_at(0)),
    "abort": lambda: str(os.abort()),
    "exit": lambda: str(os._exit(7)),
    "exit well": lambda: str(os._exit(0)),
    "lie": _lie,
    "flood": _flood,
    "pipe": _pipe,
    "recursion": _deeper,
    "say": _say,
    "fork": _fork,
    "connect": _connect,
    "write": _write,
    "read": lambda: Path("/etc/passwd").read_text(),
    "kill the worker": _kill_the_worker,
    "break out": _break_out,
    "secret": lambda: str(1 / 0),
    "environment": lambda: " ".join(sorted(os.environ)),
    "files": lambda: str(sum(_is_open(number) for number in range(3, 256))),
    "pids": lambda: f"{os.getpid()} {os.getppid()}",
}


class Unruly(Parsers):
    """Text that names a deed does it."""

    def _extract(self, kind: str, archive: object, name: str, data: bytes, text_bytes: int) -> Extracted:
        deed = DEEDS.get(data.decode())
        return Extracted(deed() if deed else data.decode(), "text", "text/plain")


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    worker.main(Unruly())
