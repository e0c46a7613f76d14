"""Looks at source folders: counts, and reads the beginnings of some files. Nothing that is read goes any further."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from headwater.clock import Clock
from headwater.doctor.machine import mounted_on
from headwater.doctor.machine_look import mounts
from headwater.doctor.sources import FoundFolder, Reading, needs_parser, why_no_document
from headwater.documents.identity import parsers_missing
from headwater.errors import Reject, Retry
from headwater.sources.patterns import matcher
from headwater.sources.scan import MAX_FILE_BYTES, printable
from headwater.sources.selecting import Selection, ignore_text

#: A look ends after so long, and says so.
_LOOK_S = 5.0
_SAMPLE = 200
_HEAD_BYTES = 64 << 10
#: Clocks of two machines differ by this much without harm.
_AHEAD_NS = 120 * 1_000_000_000


def look_at_folder(reading: Reading, clock: Clock) -> FoundFolder:
    """Look at one folder. Blocks for a few seconds at most."""
    root = Path(reading.folder)
    away, cause = _away(root)
    if away:
        return FoundFolder(reading, away, cause)
    tally = _Tally(reading, clock)
    whole = all(tally.take(name, entry) for name, entry in _walk(root, tally))
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
        filesystem=mounted_on(mounts(), os.path.realpath(root)),
        whole=whole,
    )


class _Tally:
    """What was counted by now."""

    def __init__(self, reading: Reading, clock: Clock) -> None:
        self.folders, self.files, self.matched, self.cased, self.left, self.left_folders = 0, 0, 0, 0, 0, 0
        self.looked, self.parsed, self.ahead = 0, 0, 0
        self.bad: Counter[str] = Counter()
        self.example = self.cased_example = self.parsed_example = self.ahead_example = ""
        self.selection = Selection(Path(reading.folder), reading.choice)
        self._included = matcher(reading.choice.include)
        self._included_in_any_case = matcher(pattern.lower() for pattern in reading.choice.include)
        self._clock = clock
        self._end = clock.monotonic() + _LOOK_S
        self._now_ns = clock.now_us() * 1000

    def take(self, folder: str, entry: os.DirEntry[str]) -> bool:
        """Count a file; tell whether there is time for another."""
        name = folder + entry.name
        self.files += 1
        self.example = self.example or f"**/*{Path(name).suffix}"
        if self.selection.wants_file(folder, entry.name):
            self.matched += 1
            self._look(name, entry)
        elif self._included(name):
            self.left += 1
        elif self._included_in_any_case(name.lower()):
            self.cased += 1
            self.cased_example = self.cased_example or printable(name)
        return self._clock.monotonic() < self._end

    def _look(self, name: str, entry: os.DirEntry[str]) -> None:
        try:
            state = entry.stat(follow_symlinks=False)
        except OSError:
            return  # it went while we looked
        if state.st_mtime_ns > self._now_ns + _AHEAD_NS:
            self.ahead += 1
            self.ahead_example = self.ahead_example or printable(name)
        if self.looked < _SAMPLE:
            self.looked += 1
            self._judge(name, entry, state)

    def _judge(self, name: str, entry: os.DirEntry[str], state: os.stat_result) -> None:
        head, reason = _head(entry, state)
        if reason := reason or why_no_document(head):
            self.bad[reason] += 1
        elif needs_parser(name, head, cut=state.st_size > _HEAD_BYTES):
            self.parsed += 1
            self.parsed_example = self.parsed_example or printable(name)


def _head(entry: os.DirEntry[str], state: os.stat_result) -> tuple[bytes, str]:
    """Return how a file begins, or why it cannot be read."""
    if state.st_size > MAX_FILE_BYTES:
        return b"", f"larger than {MAX_FILE_BYTES >> 20} MiB"
    try:
        file = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return b"", error.strerror or "cannot be read"
    with os.fdopen(file, "rb") as stream:
        return stream.read(_HEAD_BYTES), ""


def _walk(root: Path, tally: _Tally) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the regular files with the folders that they lie in. Links are not followed, as the source does not."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as scan:
                entries = list(scan)
            tally.selection.enter(folder, entries, partial(_ignore_text, root / folder))
            tally.folders += 1
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    yield folder, entry
                elif entry.is_dir(follow_symlinks=False):
                    if tally.selection.wants_folder(folder, entry.name):
                        waiting.append(f"{folder}{entry.name}/")
                    else:
                        tally.left_folders += 1
        except (OSError, Reject, Retry):
            continue  # it may not be read, or went: what the source skips is in the worker's log


def _ignore_text(folder: Path, name: str) -> str:
    return ignore_text(folder / name)


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
