"""Judges the SQLite files that hold log, indexes and cache, PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from headwater.doctor.faults import fault
from headwater.doctor.machine import network_kind
from headwater.observability.findings import Finding, in_order

#: So much is written between two looks at the worst: a batch of large documents, and the journal beside the file.
LEAST_BYTES = 256 * 1024 * 1024

_OTHERS_READ, _OTHERS_WRITE = 0o004, 0o002
_AGAIN = "Stop the worker and move the file away: `headwater run` makes it again"
_CURES = {
    "log": "Restore the log from a backup: it is the one thing that cannot be made again",
    "index": f"{_AGAIN} from the log",
    "cache": f"{_AGAIN}, and what it held is paid for once more",
}


class Shape(StrEnum):
    """What there is at a path."""

    NOTHING = "nothing"
    FILE = "file"
    OTHER = "other"


@dataclass(frozen=True)
class NamedFile:
    """A file that the configuration names: what it is for, by roles (`log`, `index`, `cache`), and by which key."""

    path: str
    folder: str
    roles: tuple[str, ...]
    key: str

    @property
    def role(self) -> str:
        """The roles as a message says them."""
        return " and ".join(self.roles)


@dataclass(frozen=True)
class FoundPlace:
    """Where a file lies or shall lie. `free` are the bytes that are left on its disk, None without a folder.

    `lockable`: the worker's lock beside it can be locked, or there is none yet.
    """

    there: bool = True
    writable: bool = True
    free: int | None = None
    filesystem: str = ""
    lockable: bool = True


@dataclass(frozen=True)
class FoundContent:
    """What lies in a file: the schema versions of its parts. `foreign`: it is no database; `damage` is why it cannot be
    trusted. `whole`: all of it was looked at.
    """

    parts: Mapping[str, int] = field(default_factory=dict)
    foreign: bool = False
    damage: str = ""
    whole: bool = True


@dataclass(frozen=True)
class FoundFile:
    """A named file as it was found.

    `mode` is who may do what with it, and `exposed` tells whether others on this machine may come as far as to it.
    """

    named: NamedFile
    shape: Shape
    place: FoundPlace
    size: int = 0
    usable: bool = True
    mode: int = 0o600
    exposed: bool = False
    content: FoundContent = FoundContent()


def judge_file(found: FoundFile, known: Mapping[str, int], private: str = "") -> Iterator[Finding]:
    """Judge a file. `known` are the schema versions that this Headwater knows; `private` names a stream whose documents
    others on this machine may not read, if there is one that the file is for.
    """
    named = found.named
    words = {"role": named.role, "key": named.key, "folder": named.folder}
    fatal = list(_fatal(found, known, words))
    yield from fatal
    if found.place.free is not None and found.place.free < max(LEAST_BYTES, found.size // 10):
        yield fault("disk").found(named.path, free=_mebibytes(found.place.free))
    if network_kind(found.place.filesystem):
        yield fault("network-disk").found(named.path, kind=found.place.filesystem, **words)
    if found.shape is Shape.FILE and found.exposed:
        mode = f"{found.mode:03o}"
        if found.mode & _OTHERS_WRITE:
            yield fault("data-writable").found(named.path, mode=mode, **words)
        elif found.mode & _OTHERS_READ and private:
            yield fault("data-open").found(named.path, mode=mode, stream=private, **words)
    if not fatal:
        yield in_order("file", named.path, _told(found, known))


def sound_file(found: FoundFile, known: Mapping[str, int]) -> bool:
    """Tell whether the file is there and what lies in it may be asked, without changing it."""
    current = all(found.content.parts.get(part, version) == version for part, version in known.items())
    return (
        found.shape is Shape.FILE and current and not any(_fatal(found, known, {"role": "", "key": "", "folder": ""}))
    )


def _fatal(found: FoundFile, known: Mapping[str, int], words: Mapping[str, str]) -> Iterator[Finding]:
    path = found.named.path
    if not found.place.there:
        yield fault("folder-missing").found(path, **words)
    elif not found.place.writable:
        yield fault("folder-denied").found(path, **words)
    if found.shape is Shape.OTHER:
        yield fault("file-kind").found(path, **words)
    elif found.shape is Shape.FILE and not found.usable:
        yield fault("file-denied").found(path, **words)
    elif found.content.foreign:
        yield fault("file-foreign").found(path, **words)
    elif found.content.damage:
        role = "log" if "log" in found.named.roles else found.named.roles[0]
        yield fault("file-corrupt").found(path, cause=found.content.damage, cure=_CURES[role], **words)
    for part, version in found.content.parts.items():
        if version > known.get(part, version):
            yield fault("file-newer").found(path, found=version, known=known[part], **words)
    if not found.place.lockable:
        yield fault("lock").found(f"{path}.lock")


def _told(found: FoundFile, known: Mapping[str, int]) -> str:
    if found.shape is Shape.NOTHING:
        return f"the {found.named.role} is not made yet: `headwater run` makes it"
    older = any(version < known.get(part, version) for part, version in found.content.parts.items())
    made = ", made by an older Headwater: the next `headwater run` brings it up to date" if older else ""
    whole = "" if found.content.whole else ", too large to be looked through here"
    return f"the {found.named.role}, {_mebibytes(found.size)}{made}{whole}"


def _mebibytes(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"
