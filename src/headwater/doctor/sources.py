"""Judges the folders that streams read from, PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from headwater.doctor.faults import fault
from headwater.doctor.files import NamedFile
from headwater.doctor.machine import network_kind
from headwater.observability.findings import Finding, in_order

#: What begins a file of a kind that many take for text.
_KINDS = (
    (b"%PDF-", "PDF"),
    (b"PK\x03\x04", "Office or another zip"),
    (b"\xd0\xcf\x11\xe0", "old Office"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"{\\rtf", "RTF"),
)


@dataclass(frozen=True)
class Reading:
    """A stream's source, as the configuration has it. `key` is where that stands."""

    stream: str
    folder: str
    include: tuple[str, ...]

    @property
    def key(self) -> str:
        """The dotted path of the setting."""
        return f"streams.{self.stream}.source"


@dataclass(frozen=True)
class FoundFolder:
    """A source folder as it was found.

    `away` is "missing", "kind" or "denied" where it cannot be scanned, with its `cause`. `files` were counted,
    `matched` of them are what the patterns mean, and `cased` would be in another case. `looked` of the matched ones
    were read, and `bad` gives the reasons of those that are no text. `ahead` are those with times that are yet to
    come. `example` and the like name one file each. `whole`: all of it was looked at.
    """

    reading: Reading
    away: str = ""
    cause: str = ""
    folders: int = 0
    files: int = 0
    matched: int = 0
    cased: int = 0
    looked: int = 0
    bad: Mapping[str, int] = field(default_factory=dict)
    ahead: int = 0
    example: str = ""
    cased_example: str = ""
    ahead_example: str = ""
    filesystem: str = ""
    whole: bool = True


def judge_folder(found: FoundFolder) -> Iterator[Finding]:
    """Judge one folder by itself."""
    reading = found.reading
    subject, words = reading.folder, {"stream": reading.stream, "include": ", ".join(reading.include)}
    if found.away:
        yield fault(f"source-{found.away}").found(subject, cause=found.cause, **words)
        return
    least = "" if found.whole else "at least "
    yield in_order("source", subject, f"{least}{found.matched} of {least}{found.files} files are documents")
    if not found.files:
        yield fault("source-empty").found(subject)
    elif not found.matched and not found.cased:
        yield fault("include-nothing").found(subject, files=found.files, example=found.example, **words)
    if found.cased:
        pattern = f"**/*{_ending(found.cased_example)}"
        yield fault("include-case").found(
            subject, files=found.cased, example=found.cased_example, pattern=pattern, **words
        )
    bad = sum(found.bad.values())
    if bad * 2 > found.looked:
        reasons = ", ".join(f"{reason} {number}" for reason, number in Counter(found.bad).most_common())
        yield fault("unreadable").found(subject, bad=bad, looked=found.looked, reasons=reasons, **words)
    if found.ahead:
        yield fault("future-files").found(subject, files=found.ahead, example=found.ahead_example)
    if network_kind(found.filesystem):
        yield fault("source-network").found(subject, kind=found.filesystem, **words)


def judge_places(readings: Sequence[Reading], files: Sequence[NamedFile]) -> Iterator[Finding]:
    """Judge how folders and files lie to each other."""
    for place, reading in enumerate(readings):
        others = [it for at, it in enumerate(readings) if at != place]
        # Of two streams on the same folder only the later one is named.
        same = next((it for it in readings[:place] if it.folder == reading.folder), None)
        around = next((it for it in others if inside(reading.folder, it.folder) and it.folder != reading.folder), None)
        if other := same or around:
            yield fault("source-nested").found(f"{reading.key}.folder", other=other.stream)
    for file in files:
        if holding := next((it for it in readings if inside(file.path, it.folder)), None):
            yield fault("data-in-source").found(file.path, role=file.role, stream=holding.stream, key=file.key)


def inside(path: str, folder: str) -> bool:
    """Tell whether a path is a folder, or lies in it. Both are absolute."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def why_no_text(head: bytes, *, cut: bool) -> str:
    """Say why a file is no text, by its beginning; empty when it may be. `cut`: there is more of it."""
    for start, kind in _KINDS:
        if head.startswith(start):
            return kind
    try:
        head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A character that the cut went through says nothing.
        if not cut or error.end < len(head):
            return "not UTF-8"
    return ""


def _ending(name: str) -> str:
    last = name.rpartition("/")[2]
    return last[last.rindex(".") :] if "." in last else last
