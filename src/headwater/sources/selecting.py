"""Which files of a folder are documents: by the configuration, and by the ignore files in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from headwater.errors import Reject, Retry
from headwater.sources.ignoring import Ignoring
from headwater.sources.patterns import matcher

MAX_IGNORE_BYTES = 1 << 20


class Choice(NamedTuple):
    """Which files of a folder are wanted: glob patterns, and what is left out of what they match.

    `exclude` holds lines as of an ignore file. Files called like one of `ignore_files` hold more of them, for the
    folder that they lie in; of two in one folder the later name decides.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    ignore_files: tuple[str, ...] = ()


class Selection:
    """What one walk learnt of a choice. Folders are written with a last slash, the root as ""."""

    def __init__(self, root: Path, choice: Choice) -> None:
        self._root = root
        self._included = matcher(choice.include)
        self._ignore_files = choice.ignore_files
        self._excluded = Ignoring(choice.exclude)
        #: What holds in each folder that was entered.
        self._ignoring: dict[str, Ignoring] = {}

    def enter(self, folder: str, entries: Iterable[os.DirEntry[str]], read: Callable[[str], str] | None = None) -> None:
        """Take in a folder's ignore files, which `read` reads by name, if not `ignore_text` by path.

        Raise what that raises: then nothing in the folder is known. The folder above was entered before.
        """
        read = read or (lambda name: ignore_text(self._root / folder / name))
        above = folder[: folder.rfind("/", 0, -1) + 1]
        ignoring = self._ignoring[above] if folder else self._excluded
        present = {it.name for it in entries if it.name in self._ignore_files and it.is_file(follow_symlinks=False)}
        for name in self._ignore_files:
            if name in present:
                ignoring = ignoring.deeper(folder, read(name))
        self._ignoring[folder] = ignoring

    def look_into(self, folder: str) -> list[os.DirEntry[str]]:
        """Enter a folder by its path, and return what is in it. Raise Reject when something cannot be read."""
        try:
            with os.scandir(self._root / folder) as entries:
                held = list(entries)
        except OSError as error:
            raise Reject(f"{folder or 'the folder'} cannot be read: {error.strerror}") from error
        try:
            self.enter(folder, held)
        except Retry as moving:
            raise Reject(f"{folder}{moving}") from moving
        return held

    def wants_file(self, folder: str, name: str) -> bool:
        """Tell whether a file in a folder that was entered is a document."""
        return self._included(folder + name) and not self.excludes_file(folder, name)

    def excludes_file(self, folder: str, name: str) -> bool:
        """Tell whether a file in a folder that was entered is left out, whatever is included."""
        return self._ignoring[folder].ignores(folder + name, folder=False)

    def wants_folder(self, folder: str, name: str) -> bool:
        """Tell whether a folder in one that was entered is to be entered."""
        return not self._ignoring[folder].ignores(folder + name, folder=True)

    def left_out(self, path: str) -> bool:
        """Tell whether a file is known to be none that is wanted, or to lie below a folder that is not."""
        return not self._included(path) or self._ignored(path)

    def why_left_out(self, path: str) -> str:
        """Say why a file, which is there, is none that is wanted; empty where it is one. Folders above it are entered.

        Raise Reject when what decides that cannot be read.
        """
        names = path.split("/")
        ignoring: list[str] = []
        for depth, name in enumerate(names):
            folder = "".join(f"{above}/" for above in names[:depth])
            part = folder + name
            held = self.look_into(folder)
            ignoring += [folder + it.name for it in held if it.name in self._ignore_files]
            if (self._root / part).is_symlink():
                return f"{part} is a symbolic link, and none is followed"
            if self._ignoring[folder].ignores(part, folder=depth < len(names) - 1):
                excluded = self._excluded.ignores(part, folder=depth < len(names) - 1)
                return f"`exclude` names {part}" if excluded else f"{' or '.join(ignoring)} names {part}"
        return "" if self._included(path) else "`include` does not name it"

    def matters(self, path: str, went: bool) -> bool:  # noqa: FBT001 (called by position, as `Matters` says)
        """Tell whether another walk may find something else after something came, changed or `went` at a path."""
        if path.rpartition("/")[2] in self._ignore_files:
            return True
        if self._ignored(path):
            return False
        # What went may have been a folder full of documents.
        return went or self._included(path) or (self._root / path).is_dir()

    def _ignored(self, path: str) -> bool:
        names = path.split("/")
        for depth in range(1, len(names) + 1):
            part = "/".join(names[:depth])
            ignoring = self._ignoring.get(part[: part.rfind("/") + 1])
            if ignoring is None:
                return False
            if ignoring.ignores(part, folder=depth < len(names)):
                return True
        return False


def ignore_text(path: Path | str, at: int | None = None, still: Callable[[os.stat_result], None] | None = None) -> str:
    """Return what an ignore file holds, by its path, or its name in the folder that is open as `at`.

    Raise Reject when it cannot be read, Retry when it is being written, which `still` may tell of how it is: half of
    it would let through what the other half leaves out.
    """
    name = Path(path).name
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        with os.fdopen(file, "rb") as stream:
            before = os.fstat(file)
            if still is not None:
                still(before)
            data = stream.read(MAX_IGNORE_BYTES + 1)
            whole = _stamp(before) == _stamp(os.fstat(file))
    except FileNotFoundError as error:
        raise Retry(name, "went while it was looked for") from error
    except OSError as error:
        raise Reject(f"{name} in it cannot be read: {error.strerror}") from error
    if not whole:
        raise Retry(name, "is being written")
    if len(data) > MAX_IGNORE_BYTES:
        raise Reject(f"{name} in it is larger than {MAX_IGNORE_BYTES >> 20} MiB")
    return os.fsdecode(data)


def _stamp(state: os.stat_result) -> tuple[int, int, int]:
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns
