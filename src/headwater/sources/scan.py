"""Walking a folder and reading its files: what the folder source does on a thread, off the loop."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from headwater.errors import Reject, Retry, Unreachable
from headwater.model.change import check_id, digest

MAX_FILE_BYTES = 32 << 20


class Found(NamedTuple):
    """A file that the walk found: its document id, and what tells cheaply whether it may have changed."""

    id: str
    size: int
    mtime_ns: int


class Content(NamedTuple):
    """A file that was read whole while it stood still."""

    found: Found
    text: str
    digest: bytes


class Walk:
    """One walk over a folder: the files that it found, and what it could not look at.

    What it did not find need not be gone, because folders may be unreadable or move meanwhile: ask `gone`.
    """

    def __init__(self, root: Path, wanted: Callable[[str], bool]) -> None:
        self.files: list[Found] = []
        self.skipped: list[tuple[str, str]] = []
        self._root = root
        self._wanted = wanted

    def run(self) -> Walk:
        """Walk. Raise Retry or Unreachable when the root cannot be walked: then nothing is known to be gone."""
        check_root(self._root)
        try:
            entries = _entries(self._root)
        except OSError as error:
            raise Retry(str(self._root), f"cannot be read: {error.strerror}") from error
        self._visit(entries, "")
        return self

    def _visit(self, entries: list[os.DirEntry[str]], prefix: str) -> None:
        # A stack of its own, because folders may be nested deeper than calls may be.
        stack: list[Iterator[tuple[str, os.DirEntry[str]]]] = [((prefix, entry) for entry in entries)]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                continue
            below = self._look(*step)
            if below is not None:
                name, inner = below
                stack.append(iter([(name, entry) for entry in inner]))

    def _look(self, prefix: str, entry: os.DirEntry[str]) -> tuple[str, list[os.DirEntry[str]]] | None:
        """Look at one entry; return the entries below it when it is a folder."""
        name = prefix + entry.name
        try:
            if entry.is_dir(follow_symlinks=False):
                _check_name(name)
                return name + "/", _entries(Path(entry.path))
            if entry.is_file(follow_symlinks=False) and self._wanted(name):
                _check_name(name)
                found = entry.stat(follow_symlinks=False)
                self.files.append(Found(name, found.st_size, found.st_mtime_ns))
        except FileNotFoundError:
            return None  # it went while we looked
        except (OSError, Reject) as error:
            reason = error.reason if isinstance(error, Reject) else f"cannot be read: {error.strerror}"
            self.skipped.append((printable(name), reason))
        return None


def check_root(root: Path) -> None:
    """Raise Retry when the folder is away, perhaps not mounted yet: to take it for empty would delete everything."""
    try:
        mode = root.stat().st_mode
    except FileNotFoundError as error:
        raise Retry(str(root), "there is no such folder") from error
    except OSError as error:
        raise Retry(str(root), f"cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise Unreachable(str(root), "this is not a folder", "Check `source.folder` in the configuration")


def gone(root: Path, document: str) -> bool:
    """Tell whether there is no regular file of this id. Without the root, or when in doubt, it is still there."""
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            return False
    except OSError:
        return False
    try:
        return not stat.S_ISREG((root / document).lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def read_file(root: Path, found: Found) -> Content | None:
    """Read a file. None when it moved meanwhile: the next pass will find it. Raise Reject when it cannot be used."""
    if found.size > MAX_FILE_BYTES:
        raise Reject(f"larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        # Not following links keeps the file inside the root even if it was swapped for a link since the walk.
        file = os.open(root / found.id, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Reject(f"cannot be read: {error.strerror}") from error
    try:
        data = _read_still(file, found)
    except OSError as error:
        raise Reject(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(file)
    if data is None:
        return None
    try:
        return Content(found, data.decode("utf-8-sig"), digest(data))
    except UnicodeDecodeError as error:
        raise Reject("not UTF-8") from error


def _read_still(file: int, found: Found) -> bytes | None:
    """Read all if the file is the same before and after as it was when the walk saw it."""
    if not _same(os.fstat(file), found):
        return None
    with os.fdopen(os.dup(file), "rb") as stream:
        data = stream.read(found.size + 1)
    return data if len(data) == found.size and _same(os.fstat(file), found) else None


def _same(state: os.stat_result, found: Found) -> bool:
    return stat.S_ISREG(state.st_mode) and (state.st_size, state.st_mtime_ns) == (found.size, found.mtime_ns)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: os.fsencode(entry.name))


def _check_name(name: str) -> None:
    if problem := check_id(name):
        if "surrogate" in problem:
            raise Reject("its name is not UTF-8")
        raise Reject(f"its name cannot be a document id: {problem}")


def printable(name: str) -> str:
    """Return a name as a message can hold it, also when it is not UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")
