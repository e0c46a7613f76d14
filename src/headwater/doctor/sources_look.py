"""Looks at source folders: counts, and reads the beginnings of some files. Nothing that is read goes any further."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from headwater.clock import Clock
from headwater.doctor.files_look import open_to_others
from headwater.doctor.machine import mounted_on
from headwater.doctor.machine_look import mounts
from headwater.doctor.sources import FoundFolder, Reading, needs_parser, why_no_document
from headwater.documents.identity import parsers_missing
from headwater.errors import Reject, Retry
from headwater.recipe.redact.redactor import Redactor
from headwater.sources.patterns import matcher
from headwater.sources.scan import MAX_FILE_BYTES, TOO_LARGE, printable
from headwater.sources.selecting import Selection

#: A look ends after so long, and says so.
_LOOK_S = 5.0
_SAMPLE = 200
_HEAD_BYTES = 64 << 10
#: Clocks of two machines differ by this much without harm.
_AHEAD_NS = 120 * 1_000_000_000


def look_at_folder(reading: Reading, clock: Clock, others: Sequence[Reading] = ()) -> FoundFolder:
    """Look at one folder, which lies in those of the `others`. Blocks for a few seconds at most."""
    root = Path(reading.folder)
    away, cause = _away(root)
    if away:
        return FoundFolder(reading, away, cause)
    tally = _Tally(reading, clock, others)
    for folder, entry in _walk(root, tally):
        tally.take(folder, entry)
    return FoundFolder(
        reading,
        folders=tally.folders,
        files=tally.files,
        matched=tally.matched,
        cased=tally.cased,
        left=tally.left if tally.files else tally.left_folders,
        looked=tally.looked,
        bad=tally.bad,
        parsed=tally.parsed,
        bare=parsers_missing(),
        ahead=tally.ahead,
        example=tally.example,
        cased_example=tally.cased_example,
        parsed_example=tally.parsed_example,
        ahead_example=tally.ahead_example,
        shared=tally.shared,
        shared_example=tally.shared_example,
        private=not open_to_others(root),
        filesystem=mounted_on(mounts(), os.path.realpath(root)),
        whole=tally.in_time(),
    )


def takes(reading: Reading, file: Path) -> bool:
    """Tell whether a stream takes a file for a document. Blocks for a moment."""
    if not file.is_relative_to(reading.folder):
        return False
    return _Other(reading, file.parent).wants(file.name)


class _Tally:
    """What was counted by now."""

    def __init__(self, reading: Reading, clock: Clock, others: Sequence[Reading]) -> None:
        self.folders, self.files, self.matched, self.cased, self.left, self.left_folders = 0, 0, 0, 0, 0, 0
        self.looked, self.parsed, self.ahead = 0, 0, 0
        self.bad: Counter[str] = Counter()
        self.example = self.cased_example = self.parsed_example = self.ahead_example = ""
        self.shared = self.shared_example = ""
        self._others = [_Other(it, Path(reading.folder)) for it in others]
        self.selection = Selection(Path(reading.folder), reading.choice)
        self._included = matcher(reading.choice.include)
        self._included_in_any_case = matcher(pattern.lower() for pattern in reading.choice.include)
        self._redactor = Redactor(reading.redact) if reading.redact else None
        self._clock = clock
        self._end = clock.monotonic() + _LOOK_S
        self._now_ns = clock.now_us() * 1000

    def in_time(self) -> bool:
        """Tell whether there is time for more."""
        return self._clock.monotonic() < self._end

    def enter(self, folder: str, entries: list[os.DirEntry[str]]) -> None:
        """Take in a folder's ignore files. Raise Reject or Retry when one cannot be read."""
        self.selection.enter(folder, entries)
        self.folders += 1
        for other in () if self.shared else self._others:
            other.enter(folder, entries)

    def take(self, folder: str, entry: os.DirEntry[str]) -> None:
        """Count a file."""
        name = folder + entry.name
        self.files += 1
        self.example = self.example or f"**/*{Path(name).suffix}"
        if self.selection.wants_file(folder, entry.name):
            self.matched += 1
            self._look(name, entry)
            self._share(name)
        elif self._included(name):
            self.left += 1
        elif self._included_in_any_case(name.lower()) and not self.selection.excludes_file(folder, entry.name):
            self.cased += 1
            self.cased_example = self.cased_example or self._shown(name)

    def _share(self, name: str) -> None:
        other = None if self.shared else next((it for it in self._others if it.wants(name)), None)
        if other is not None:
            self.shared, self.shared_example = other.stream, self._shown(name)

    def _look(self, name: str, entry: os.DirEntry[str]) -> None:
        try:
            state = entry.stat(follow_symlinks=False)
        except OSError:
            return  # it went while we looked
        if state.st_mtime_ns > self._now_ns + _AHEAD_NS:
            self.ahead += 1
            self.ahead_example = self.ahead_example or self._shown(name)
        if self.looked < _SAMPLE:
            self.looked += 1
            self._judge(name, entry, state)

    def _judge(self, name: str, entry: os.DirEntry[str], state: os.stat_result) -> None:
        head, reason = _head(entry, state)
        if reason := reason or why_no_document(head):
            self.bad[reason] += 1
        elif needs_parser(name, head, cut=state.st_size > _HEAD_BYTES):
            self.parsed += 1
            self.parsed_example = self.parsed_example or self._shown(name)

    def _shown(self, name: str) -> str:
        """Return a name without what the stream's recipe takes out."""
        return self._redactor.text(printable(name)) if self._redactor else printable(name)


class _Other:
    """What a stream takes of a folder in its own. Names are relative to that folder."""

    def __init__(self, reading: Reading, folder: Path) -> None:
        self.stream = reading.stream
        root = Path(reading.folder)
        self._within = "".join(f"{name}/" for name in folder.relative_to(root).parts)
        self._selection: Selection | None = Selection(root, reading.choice)
        try:
            for end in (0, *(at for at, letter in enumerate(self._within, 1) if letter == "/")):
                self._selection.look_into(self._within[:end])
        except Reject:
            self._selection = None  # nobody knows

    def enter(self, folder: str, entries: list[os.DirEntry[str]]) -> None:
        """Take in a folder's ignore files."""
        try:
            if self._selection is not None:
                self._selection.enter(self._within + folder, entries)
        except (Reject, Retry):
            self._selection = None

    def wants(self, name: str) -> bool:
        """Tell whether a file in a folder that was entered is a document; no where nobody knows."""
        return self._selection is not None and not self._selection.left_out(self._within + name)


def _head(entry: os.DirEntry[str], state: os.stat_result) -> tuple[bytes, str]:
    """Return how a file begins, or why it cannot be read."""
    if state.st_size > MAX_FILE_BYTES:
        return b"", TOO_LARGE
    try:
        file = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return b"", error.strerror or "cannot be read"
    with os.fdopen(file, "rb") as stream:
        return stream.read(_HEAD_BYTES), ""


def _walk(root: Path, tally: _Tally) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the regular files with the folders that they lie in. Links are not followed, as the source does not."""
    waiting = [""]
    while waiting and tally.in_time():
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as scan:
                entries = list(scan)
            tally.enter(folder, entries)
            for entry in entries:
                if not tally.in_time():
                    return
                if entry.is_file(follow_symlinks=False):
                    yield folder, entry
                elif entry.is_dir(follow_symlinks=False):
                    if tally.selection.wants_folder(folder, entry.name):
                        waiting.append(f"{folder}{entry.name}/")
                    else:
                        tally.left_folders += 1
        except (OSError, Reject, Retry):
            continue  # it may not be read, or went: what the source skips is in the worker's log


def _away(root: Path) -> tuple[str, str]:
    try:
        if not stat.S_ISDIR(root.stat().st_mode):
            return "kind", ""
        with os.scandir(root):
            return "", ""
    except FileNotFoundError:
        return "missing", ""
    except NotADirectoryError:
        return "missing", ""
    except OSError as error:
        return "denied", error.strerror or "it cannot be read"
