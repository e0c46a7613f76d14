"""A process that keeps one child: the child dies with the keeper, and the keeper ends when the owner does.

    python -I -S keeper.py OWNER FOLDER KEPT USER LAST COMMAND...

A test run can be killed at any moment, and a JVM that outlives it holds memory and ports for ever. The kernel's
parent-death signal alone is not enough: it fires when the *thread* that started the child ends. So the keeper, which
has one thread, starts the child with that signal set and waits for two things: the child's end, and the owner's. After
the owner's end it sends the child the signal LAST, kills it if that did not do, and removes FOLDER unless KEPT is
`keep`. The child runs as USER unless that is `-`. Prints the child's process id. Uses nothing but the standard library,
and starts in some 20 ms.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
POLL_S = 0.2
LAST_S = 5


def die_with_parent() -> None:
    """In the child, before the exec: the kernel kills it when the keeper is gone, for whatever reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def owner_is_gone(owner: int) -> bool:
    try:
        os.kill(owner, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def wait(child: subprocess.Popen[bytes], owner: int) -> None:
    """Return when the child or the owner has ended."""
    if not hasattr(os, "pidfd_open"):
        while child.poll() is None and not owner_is_gone(owner):
            time.sleep(POLL_S)
        return
    watched = []
    try:
        # Readable once the process has ended, also while nobody has reaped it yet.
        watched = [os.pidfd_open(pid) for pid in (child.pid, owner)]
    except ProcessLookupError:
        return
    select.select(watched, [], [])


def end(child: subprocess.Popen[bytes], last: int) -> None:
    child.send_signal(last)
    try:
        child.wait(LAST_S)
    except subprocess.TimeoutExpired:
        child.kill()


def main() -> int:
    owner, folder, kept, user, last, *command = sys.argv[1:]
    # A Ctrl-C at the terminal is for the owner: it decides what becomes of the child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with subprocess.Popen(
        command,
        stdout=2,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - there is one thread here
        start_new_session=True,
        user=None if user == "-" else int(user),
    ) as child:
        print(child.pid, flush=True)
        # The owner must not wait for more.
        os.close(1)
        wait(child, int(owner))
        if child.poll() is None:
            end(child, int(last))
        status = child.wait()
    if owner_is_gone(int(owner)) and kept != "keep":
        shutil.rmtree(folder, ignore_errors=True)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
