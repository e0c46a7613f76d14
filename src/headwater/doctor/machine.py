"""Judges the machine that a worker would run on, PURE."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headwater.doctor.faults import fault
from headwater.observability.findings import Finding, in_order

OLDEST_SQLITE = (3, 37, 0)

#: What a worker has open whatever it does, and for each stream: connections with their two files each, and to a model.
_FILES, _FILES_A_STREAM = 64, 32
_OCTAL = re.compile(r"\\([0-7]{3})")
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "vboxsf", "prl_fs"}
)
_NETWORK_FUSE = ("fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.glusterfs", "fuse.blobfuse")


@dataclass(frozen=True)
class FoundMachine:
    """The machine. None: it does not tell.

    `temp_variable` names what points temporary files to a folder that cannot be written to; empty when all is well.
    """

    python: str
    system: str
    sqlite: tuple[int, int, int]
    sqlite_options: frozenset[str]
    open_files: int | None
    temp_variable: str = ""
    temp_folder: str = ""
    watches: int | None = None


def judge_machine(found: FoundMachine, *, streams: int, folders: int) -> Iterator[Finding]:
    """Judge it for so many streams, whose source folders hold so many folders."""
    version = ".".join(map(str, found.sqlite))
    yield in_order("python", found.system, f"Python {found.python}, SQLite {version}")
    if found.sqlite < OLDEST_SQLITE:
        yield fault("sqlite-old").found("SQLite", version=version)
    if "THREADSAFE=0" in found.sqlite_options:
        yield fault("sqlite-threads").found("SQLite")
    wanted = _FILES + _FILES_A_STREAM * streams
    if found.open_files is not None and found.open_files < wanted:
        yield fault("open-files").found("open files", limit=found.open_files, wanted=max(1024, wanted))
    if found.temp_variable:
        yield fault("temp-folder").found(found.temp_folder, variable=found.temp_variable)
    if found.watches is not None and folders > found.watches:
        yield fault("watches").found("inotify", folders=folders, limit=found.watches, wanted=2 * folders)


def network_kind(kind: str) -> bool:
    """Tell whether a file system of this kind is another machine's."""
    return kind in _NETWORK or kind.startswith(_NETWORK_FUSE)


def mounted_on(mounts: Sequence[tuple[str, str]], path: str) -> str:
    """Return the kind of the file system that an absolute path lies on, of (mount point, kind); empty: nobody knows.

    Of two on the same mount point the later one counts: it hides the other.
    """
    holding = [
        (len(point.rstrip("/")), place, kind) for place, (point, kind) in enumerate(mounts) if _holds(point, path)
    ]
    return max(holding)[2] if holding else ""


def read_mounts(text: str) -> list[tuple[str, str]]:
    """Read /proc/self/mounts, where a blank in a name is written in octal digits. Other letters stand as they are."""
    rows = (line.split(" ") for line in text.splitlines())
    return [(_OCTAL.sub(lambda found: chr(int(found[1], 8)), row[1]), row[2]) for row in rows if len(row) > 2]


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
