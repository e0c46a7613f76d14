"""Walking a folder and reading its files: what the folder source does on a thread, off the loop."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from headwater.errors import Reject, Retry, Unreachable
from headwater.model.change import check_id
from headwater.sources.selecting import Choice, Selection, ignore_text
from headwater.sources.stillness import QUIET_S

MAX_FILE_BYTES = 32 << 20
TOO_LARGE = f"larger than {MAX_FILE_BYTES >> 20} MiB"
#: What kernels say of a link, or of a file where a folder was.
_SWAPPED = (errno.ENOTDIR, errno.ELOOP, errno.EMLINK)


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
    that are left out are not looked into. `folders` holds their inodes by path, the root as "". A folder with an ignore
    file that may be half written is left alone; `again_s` tells when it may be whole. How long a file is to be left
    alone `moving_s` says, and raises Reject of one that never stands still.
    """

    def __init__(self, root: Path, choice: Choice, moving_s: Callable[[Found], float] = lambda _found: 0.0) -> None:
        self.files: list[Found] = []
        self.folders: dict[str, int] = {}
        self.skipped: list[tuple[str, str]] = []
        self.again_s: float | None = None
        self.selection = Selection(root, choice)
        self._root = root
        self._moving_s = moving_s

    def run(self) -> Walk:
        """Walk. Raise Retry or Unreachable when the root cannot be walked: then nothing is known to be gone."""
        check_root(self._root)
        try:
            waiting = self._enter("")
        except OSError as error:
            raise Retry(str(self._root), f"cannot be read: {error.strerror}") from error
        except Reject as error:
            raise Retry(str(self._root), error.reason) from error
        # A list of its own, because folders may be nested deeper than calls may be.
        while waiting:
            folder = waiting.pop()
            try:
                waiting += self._enter(folder)
            except (OSError, Reject) as error:
                self._skip(folder[:-1], error)
        self.files.sort()  # a file system has no order
        self.skipped.sort()
        return self

    def left(self, document: str) -> bool:
        """Tell whether a document that was not found is none any more: its file is gone, or not wanted any more.

        It is looked for again, because files move between folders, and disks go away, while one walks.
        """
        return self.selection.left_out(document) or gone(self._root, document)

    def _enter(self, folder: str) -> list[str]:
        """Look at what is in a folder; return the folders in it. Raise Reject when its ignore files cannot be read."""
        with opened(self._root, folder) as at:
            with os.scandir(at) as scan:
                entries = list(scan)
            try:
                self.selection.enter(folder, entries, lambda name: self._ignore_text(at, folder, name))
            except Retry as moving:
                self.again_s = max(self.again_s or 0.0, moving.after_s or QUIET_S)
                return []
            self.folders[folder] = os.fstat(at).st_ino
            return [f"{folder}{entry.name}/" for entry in entries if self._is_folder(folder, entry)]

    def _is_folder(self, folder: str, entry: os.DirEntry[str]) -> bool:
        """Look at one entry; tell whether it is a folder to be entered."""
        name = folder + entry.name
        try:
            if entry.is_dir(follow_symlinks=False):
                if self.selection.wants_folder(folder, entry.name):
                    _check_name(name)
                    return True
            elif entry.is_file(follow_symlinks=False) and self.selection.wants_file(folder, entry.name):
                _check_name(name)
                self.files.append(_found(name, entry.stat(follow_symlinks=False)))
        except (OSError, Reject) as error:
            self._skip(name, error)
        return False

    def _ignore_text(self, at: int, folder: str, name: str) -> str:
        def still(state: os.stat_result) -> None:
            try:
                wait_s = self._moving_s(_found(folder + name, state))
            except Reject as error:
                raise Reject(f"{name} in it {error.reason}") from error
            if wait_s:
                raise Retry(name, "is being written", after_s=wait_s)

        return ignore_text(name, at, still)

    def _skip(self, name: str, error: OSError | Reject) -> None:
        if not isinstance(error, FileNotFoundError):  # else it went while we looked
            reason = error.reason if isinstance(error, Reject) else f"cannot be read: {error.strerror}"
            self.skipped.append((printable(name), reason))


@contextmanager
def opened(root: Path, folder: str) -> Iterator[int]:
    """Open a folder below the root, given as "" or with a last slash, for as long as the context lasts.

    Each step follows no link, so that nothing outside is opened, though a folder was swapped for a link a moment ago.
    Raise FileNotFoundError where no folder is any more.
    """
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in folder.split("/")[:-1]:
            below = _open(name, os.O_DIRECTORY, at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


def _open(name: str, flags: int, at: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, dir_fd=at)
    except OSError as error:
        if error.errno in _SWAPPED:
            raise FileNotFoundError(error.errno, error.strerror) from error
        raise


def check_root(root: Path) -> None:
    """Raise Retry when the folder is away, perhaps not mounted yet: to take it for empty would delete everything."""
    try:
        state = root.stat()
    except FileNotFoundError as error:
        raise Retry(str(root), "there is no such folder") from error
    except OSError as error:
        raise Retry(str(root), f"cannot be read: {error.strerror}") from error
    if not stat.S_ISDIR(state.st_mode):
        cure = "Check `source.folder` in the configuration"
        raise Unreachable(str(root), "this is not a folder", cure, code="source-unusable")


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
        raise Reject(TOO_LARGE)
    folder, slash, name = found.id.rpartition("/")
    try:
        with opened(root, folder + slash) as at, os.fdopen(_open(name, 0, at), "rb") as stream:
            return _read_still(stream, found)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Reject(f"cannot be read: {error.strerror}") from error


def _read_still(stream: BinaryIO, found: Found) -> bytes | None:
    """Read all if the file is the same before and after as it was when the walk saw it."""
    if not _same(os.fstat(stream.fileno()), found):
        return None
    data = stream.read(found.size + 1)
    return data if len(data) == found.size and _same(os.fstat(stream.fileno()), found) else None


def _same(state: os.stat_result, found: Found) -> bool:
    seen = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
    return stat.S_ISREG(state.st_mode) and seen == (found.size, found.mtime_ns, found.ctime_ns, found.inode)


def _found(name: str, state: os.stat_result) -> Found:
    return Found(name, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


def _check_name(name: str) -> None:
    if problem := check_id(name):
        if "surrogate" in problem:
            raise Reject("its name is not UTF-8")
        raise Reject(f"its name cannot be a document id: {problem}")


def printable(name: str) -> str:
    """Return a name as a message can hold it, also when it is not UTF-8."""
    return os.fsencode(name).decode(errors="backslashreplace")
