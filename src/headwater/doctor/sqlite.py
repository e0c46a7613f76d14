"""Judges what a log in a SQLite file stands on, PURE."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.observability.findings import Finding, failure, in_order, warning

#: So much is written between two looks at the worst: a batch of large documents, and the journal beside the file.
_LEAST_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class FoundFile:
    """The log's file. `size` is None when there is none; `free` is what is left on its disk, None without a folder."""

    path: str
    size: int | None
    free: int | None
    worker: int | None


def judge_file(found: FoundFile) -> list[Finding]:
    """Judge the file, its disk, and who works on it."""
    return [_file(found), _disk(found), _worker(found)]


def _file(found: FoundFile) -> Finding:
    if found.size is None:
        why = "nothing was published yet, or the path is not the one that was meant"
        return warning("file", found.path, "there is no such file", why, "`headwater run` or `publish` makes it")
    return in_order("file", found.path, f"{_mebibytes(found.size)} large")


def _disk(found: FoundFile) -> Finding:
    why = "a full disk stops the stream; nothing is lost, and nothing becomes searchable"
    if found.free is None:
        return failure("disk", found.path, "its folder does not exist", "no file can be made there", "Make the folder")
    if found.free < max(_LEAST_BYTES, (found.size or 0) // 10):
        return warning("disk", found.path, f"{_mebibytes(found.free)} are left on the disk", why, "Make room")
    return in_order("disk", found.path, f"{_mebibytes(found.free)} are left on the disk")


def _worker(found: FoundFile) -> Finding:
    if found.worker is None:
        return in_order("worker", found.path, "none runs: `headwater run` starts one")
    return in_order("worker", found.path, f"process {found.worker} works on it")


def _mebibytes(size: int) -> str:
    return f"{size / 1024 / 1024:.1f} MiB"
