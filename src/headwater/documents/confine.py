"""What a process of ours takes from itself before it looks at a document: it cannot get any of it back.

No files and no sockets can be opened (RLIMIT_NOFILE 0 needs no privileges and holds everywhere), none written, no
memory beyond a bound, no time beyond a bound, no processes, no core files.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from pathlib import Path

from headwater.documents.limits import Limits

_PR_SET_PDEATHSIG = 1
_WATCH_S = 0.2
#: The kernel holds an address space to its limit here. Elsewhere a thread looks.
BOUNDS_MEMORY = sys.platform.startswith(("linux", "freebsd"))


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, where it can; elsewhere `watch` does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before that


def confine(limits: Limits) -> None:
    """Confine this process for one document."""
    if not BOUNDS_MEMORY:
        watch(limits.memory_bytes, os.getppid())
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    if BOUNDS_MEMORY:
        _limit(resource.RLIMIT_AS, _address_space() + limits.memory_bytes)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, 0)


def watch(memory_bytes: int, parent: int) -> None:
    """Start a thread that ends this process when all of it takes more memory (status 3), or its parent is gone."""
    threading.Thread(target=_look, args=(memory_bytes, parent), daemon=True).start()


OVER_MEMORY = 3


def _look(most: int, parent: int) -> None:
    pause = threading.Event()
    while not pause.wait(_WATCH_S):
        if _resident() > most:
            os._exit(OVER_MEMORY)
        if os.getppid() != parent:
            os._exit(1)


def _resident() -> int:
    """Return the most memory that this process had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def _address_space() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 30


def _limit(what: int, most: int) -> None:
    resource.setrlimit(what, (most, most))
