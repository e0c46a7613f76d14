"""Walking a folder and reading its files: what the folder source does on a thread, off the loop."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from headwater.errors import Reject, Retry, Unreachable
from headwater.model.change import check_id
from headwater.sources.selecting import Choice, Selection

MAX_FILE_BYTES = 32 << 20


class Found(NamedTuple):
    """A file that the walk found: its document id, and what tells cheaply whether it may have changed.

    Size and time of the last edit are what a program may set back. The time of the last change of any kind is the
    kernel's own, and the inode tells files apart that were swapped with the folders that they lie in.
    """

    id: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Walk:
    """One walk over a folder: the files that it found, the folders that it looked into, and what it could not look at.

    What it did not find need not be gone, because folders may be unreadable or move meanwhile: ask `left`. Folders
    that are left out are not looked into. `folders` holds their inodes by path, the root as "".
    """

    def __init__(self, root: Path, choice: Choice) -> None:
        self.files: list[Found] = []
        self.folders: dict[str, int] = {}
        self.skipped: list[tuple[str, str]] = []
        self.selection = Selection(root, choice)
        self._root = root

    def run(self) -> Walk:
        """Walk. Raise Retry or Unreachable when the root cannot be walked: then nothing is known to be gone."""
        inode = check_root(self._root)
        try:
            entries = self._enter("", self._root, inode)
        except OSError as error:
            raise Retry(str(self._root), f"cannot be read: {error.strerror}") from error
        except Reject as error:
            raise Retry(str(self._root), error.reason) from error
        self._visit(entries)
        return self

    def left(self, document: str) -> bool:
        """Tell whether a document that was not found is none any more: its file is gone, or not wanted any more.

        It is looked for again, because files move between folders, and disks go away, while one walks.
        """
        return self.selection.left_out(document) or gone(self._root, document)

    def _visit(self, entries: list[os.DirEntry[str]]) -> None:
        # A stack of its own, because folders may be nested deeper than calls may be.
        stack: list[tuple[str, Iterator[os.DirEntry[str]]]] = [("", iter(entries))]
        while stack:
            prefix, left = stack[-1]
            entry = next(left, None)
            if entry is None:
                stack.pop()
                continue
            below = self._look(prefix, entry)
            if below is not None:
                stack.append((f"{prefix}{entry.name}/", iter(below)))

    def _look(self, prefix: str, entry: os.DirEntry[str]) -> list[os.DirEntry[str]] | None:
        """Look at one entry; return the entries below it when it is a folder."""
        name = prefix + entry.name
        try:
            if entry.is_dir(follow_symlinks=False):
                if not self.selection.wants_folder(prefix, entry.name):
                    return None
                _check_name(name)
                return self._enter(name + "/", Path(entry.path), entry.inode())
            if entry.is_file(follow_symlinks=False) and self.selection.wants_file(prefix, entry.name):
                _check_name(name)
                state = entry.stat(follow_symlinks=False)
                self.files.append(Found(name, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino))
        except FileNotFoundError:
            return None  # it went while we looked
        except (OSError, Reject) as error:
            reason = error.reason if isinstance(error, Reject) else f"cannot be read: {error.strerror}"
            self.skipped.append((printable(name), reason))
        return None

    def _enter(self, prefix: str, path: Path, inode: int) -> list[os.DirEntry[str]]:
        """List a folder. Raise Reject when its ignore files cannot be read."""
        entries = _entries(path)
        self.selection.enter(prefix, entries)
        self.folders[prefix] = inode
        return entries


def check_root(root: Path) -> int:
    """Return the folder's inode. Raise Retry when it is away, perhaps not mounted yet: to take it for empty would
    delete everything.
    """
    try:
        state = root.stat()
    except FileNotFoundError as error:
        raise Retry(str(root), "there is no such folder") from error
    except OSError as error:
        raise Retry(str(root), f"cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(state.st_mode):
        cure = "Check `source.folder` in the configuration"
        raise Unreachable(str(root), "this is not a folder", cure, code="source-unusable")
    return state.st_ino


def gone(root: Path, document: str) -> bool:
    """Tell whether there is no regular file of this id. Without the root, or when in doubt, it is still there."""
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            return False
    except OSError:
        return False
    try:
        *above, path = reversed(list(_ways(root, document)))
        if any(not stat.S_ISDIR(folder.lstat().st_mode) for folder in above):
            return True
        return not stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _ways(root: Path, document: str) -> Iterator[Path]:
    """Give a file and the folders above it up to the root, that one left out. Any may be a link by now."""
    path = root / document
    while path != root:
        yield path
        path = path.parent


def read_file(root: Path, found: Found) -> bytes | None:
    """Read a file. None when it moved meanwhile: the next pass will find it. Raise Reject when it cannot be read."""
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
        return _read_still(file, found)
    except OSError as error:
        raise Reject(f"cannot be read: {error.strerror}") from error
    finally:
        os.close(file)


def _read_still(file: int, found: Found) -> bytes | None:
    """Read all if the file is the same before and after as it was when the walk saw it."""
    if not _same(os.fstat(file), found):
        return None
    with os.fdopen(os.dup(file), "rb") as stream:
        data = stream.read(found.size + 1)
    return data if len(data) == found.size and _same(os.fstat(file), found) else None


def _same(state: os.stat_result, found: Found) -> bool:
    seen = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    return stat.S_ISREG(state.st_mode) and seen == (found.size, found.mtime_ns, found.ctime_ns, found.inode)


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
