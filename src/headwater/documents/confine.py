"""What a process of ours takes from itself before it looks at a document: it cannot get any of it back.

No files and no sockets can be opened (RLIMIT_NOFILE 0 needs no privileges and holds everywhere), none written, no
memory beyond a bound, no time beyond a bound, no processes, no core files. Limits do not stop calls that take a path
or the number of another process: Landlock does, where the kernel has it. They do not hold root either, who becomes
nobody.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from headwater.documents.limits import Limits

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_NOBODY = 65534
#: Documentation/userspace-api/landlock.rst of the kernel, and its include/uapi/linux/landlock.h. The numbers of the
#: calls are the same for all processors.
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_RESTRICT_SELF = 446
#: Since which version there are these: access to files (to execute, ..., to refer; to truncate; to control devices),
#: to TCP ports (to bind, to connect), and what crosses the border to other processes (abstract sockets, signals).
_LANDLOCK_PORTS = 4
_LANDLOCK_SCOPES = 6
_LANDLOCK_RIGHTS = (
    ((5, (1 << 16) - 1), (3, (1 << 15) - 1), (2, (1 << 14) - 1), (1, (1 << 13) - 1)),
    ((_LANDLOCK_PORTS, 0b11),),
    ((_LANDLOCK_SCOPES, 0b11),),
)
_WATCH_S = 0.2
#: The kernel holds an address space to its limit here. Elsewhere a thread looks.
BOUNDS_MEMORY = sys.platform.startswith(("linux", "freebsd"))


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, where it can; elsewhere `watch` does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before that


def confine(limits: Limits, parent: int) -> None:
    """Confine this process for one document. It dies with its parent."""
    if os.geteuid() == 0:
        _become_nobody()
    die_with(parent)  # the kernel forgets that of whoever becomes another
    if not BOUNDS_MEMORY:
        watch(limits.memory_bytes, parent)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    if BOUNDS_MEMORY:
        _limit(resource.RLIMIT_AS, _address_space() + limits.memory_bytes)
    _limit(resource.RLIMIT_NPROC, 0)
    if sys.platform == "linux":
        _landlock()
    _limit(resource.RLIMIT_NOFILE, 0)


def _become_nobody() -> None:
    with suppress(OSError):  # in some containers there is nobody else
        os.setgroups([])
        os.setregid(_NOBODY, _NOBODY)
        os.setreuid(_NOBODY, _NOBODY)


def landlock_abi() -> int:
    """Return the version of Landlock that the kernel has; below 1 it has none."""
    return int(ctypes.CDLL(None).syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1))


def _landlock() -> None:
    """Give up all that the kernel's version of Landlock knows of; no rule gives any of it back."""
    abi = landlock_abi()
    if abi < 1:
        return
    rights = [next((it for since, it in known if abi >= since), 0) for known in _LANDLOCK_RIGHTS]
    size = 8 * (1 + (abi >= _LANDLOCK_PORTS) + (abi >= _LANDLOCK_SCOPES))
    libc = ctypes.CDLL(None)
    rules = libc.syscall(_LANDLOCK_CREATE_RULESET, (ctypes.c_uint64 * 3)(*rights), ctypes.c_size_t(size), 0)
    if rules < 0:
        return  # it is there and switched off
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # without it the kernel refuses
    libc.syscall(_LANDLOCK_RESTRICT_SELF, rules, 0)
    os.close(rules)


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
