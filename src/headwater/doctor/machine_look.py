"""Looks at the machine: what the doctor is told of it."""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
from contextlib import closing
from pathlib import Path

from headwater.doctor.machine import FoundMachine, read_mounts

_MOUNTS = Path("/proc/self/mounts")
_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
_TEMP_VARIABLES = ("TMPDIR", "TEMP", "TMP")


def look_at_machine() -> FoundMachine:
    """Look at the machine and this process."""
    major, minor, patch, *_ = sqlite3.sqlite_version_info
    variable, folder = _unusable_temp()
    return FoundMachine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        sqlite=(major, minor, patch),
        sqlite_options=_options(),
        open_files=_open_files(),
        temp_variable=variable,
        temp_folder=folder,
        watches=_number(_WATCHES),
    )


def mounts() -> list[tuple[str, str]]:
    """Return the mount points and the kinds of their file systems; none where the machine does not tell."""
    try:
        return read_mounts(_MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, UnicodeError):
        return []


def _options() -> frozenset[str]:
    with closing(sqlite3.connect(":memory:")) as connection:
        return frozenset(option for (option,) in connection.execute("PRAGMA compile_options"))


def _open_files() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _unusable_temp() -> tuple[str, str]:
    """Return the variable that names the folder for temporary files, and the folder, when that cannot be used."""
    variable = next((it for it in _TEMP_VARIABLES if os.environ.get(it)), "")
    folder = os.environ.get(variable, "")
    usable = not variable or (Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK))
    return ("", "") if usable else (variable, folder)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
