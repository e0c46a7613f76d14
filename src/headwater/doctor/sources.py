"""Judges the folders that streams read from, PURE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from headwater.doctor.faults import fault
from headwater.doctor.files import NamedFile
from headwater.doctor.machine import network_kind
from headwater.documents import kinds
from headwater.observability.findings import Finding, counted, in_order
from headwater.recipe.options import Redactable
from headwater.sources.selecting import Choice


@dataclass(frozen=True)
class Reading:
    """A stream's source, as the configuration has it. `key` is where that stands; `redact` is never to be shown."""

    stream: str
    folder: str
    choice: Choice
    redact: tuple[Redactable, ...] = ()

    @property
    def key(self) -> str:
        """The dotted path of the setting."""
        return f"streams.{self.stream}.source"


@dataclass(frozen=True)
class FoundFolder:
    """A source folder as it was found.

    `away` is "missing", "kind" or "denied" where it cannot be scanned, with its `cause`. `files` were counted,
    `matched` of them are documents, and `cased` would be in another case. `left` of those that are included are left
    out all the same, or so many folders where there are no files. `looked` of the matched ones were read, and `bad`
    gives the reasons of those that cannot be. `parsed` of them need a parser: `bare` if the extra that has them is not
    installed. `ahead` are those with times that are yet to come. `example` and the like name one file each. The
    stream `shared` takes one of the matched for a document too. `private`: other users may not come to them. `whole`:
    all of it was looked at.
    """

    reading: Reading
    away: str = ""
    cause: str = ""
    folders: int = 0
    files: int = 0
    matched: int = 0
    cased: int = 0
    left: int = 0
    looked: int = 0
    bad: Mapping[str, int] = field(default_factory=dict)
    parsed: int = 0
    bare: bool = False
    ahead: int = 0
    example: str = ""
    cased_example: str = ""
    parsed_example: str = ""
    ahead_example: str = ""
    shared: str = ""
    shared_example: str = ""
    private: bool = False
    filesystem: str = ""
    whole: bool = True


def judge_folder(found: FoundFolder) -> Iterator[Finding]:
    """Judge one folder by itself."""
    reading = found.reading
    subject, words = reading.folder, {"stream": reading.stream, "include": ", ".join(reading.choice.include)}
    if found.away:
        yield fault(f"source-{found.away}").found(subject, cause=found.cause, **words)
        return
    least = "" if found.whole else "at least "
    yield in_order("source", subject, f"{least}{found.matched} of {least}{found.files} files are documents")
    if not found.matched and found.left:
        ignoring = ", ".join(reading.choice.ignore_files) or "none"
        left = counted(found.left, "file" if found.files else "folder")
        yield fault("exclude-all").found(subject, left=left, ignoring=ignoring, **words)
    elif not found.files:
        yield fault("source-empty").found(subject)
    elif not found.matched and not found.cased:
        files = counted(found.files, "file")
        yield fault("include-nothing").found(subject, files=files, example=found.example, **words)
    if found.cased:
        pattern = f"**/*{_ending(found.cased_example)}"
        files = counted(found.cased, "file")
        yield fault("include-case").found(subject, files=files, example=found.cased_example, pattern=pattern, **words)
    bad, looked = sum(found.bad.values()), counted(found.looked, "file")
    if bad * 2 > found.looked:
        reasons = ", ".join(f"{reason} {number}" for reason, number in Counter(found.bad).most_common())
        yield fault("unreadable").found(subject, bad=bad, looked=looked, reasons=reasons, **words)
    if found.bare and found.parsed:
        yield fault("documents-extra").found(subject, parsed=found.parsed, looked=looked, example=found.parsed_example)
    if found.ahead:
        yield fault("future-files").found(subject, files=counted(found.ahead, "file"), example=found.ahead_example)
    if found.shared:
        yield fault("source-nested").found(f"{reading.key}.folder", other=found.shared, example=found.shared_example)
    if network_kind(found.filesystem):
        yield fault("source-network").found(subject, kind=found.filesystem, **words)


def judge_places(readings: Sequence[Reading], files: Sequence[NamedFile]) -> Iterator[Finding]:
    """Judge how files lie to the folders."""
    for file in files:
        if holding := next((it for it in readings if inside(file.path, it.folder)), None):
            yield fault("data-in-source").found(file.path, role=file.role, stream=holding.stream, key=file.key)


def around(reading: Reading, readings: Sequence[Reading]) -> list[Reading]:
    """Return those whose folders hold a reading's folder. Of those on the same folder only the ones before it."""
    same = [it for it in readings[: readings.index(reading)] if it.folder == reading.folder]
    return same + [it for it in readings if it.folder != reading.folder and inside(reading.folder, it.folder)]


def inside(path: str, folder: str) -> bool:
    """Tell whether a path is a folder, or lies in it. Both are absolute."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def needs_parser(name: str, head: bytes, *, cut: bool) -> bool:
    """Tell whether a file is more than text in UTF-8, by its beginning. `cut`: there is more of it."""
    if kinds.is_pdf(head) or kinds.is_zip(head) or b"\0" in head:
        return True
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # A character that the cut went through says nothing.
        if not cut or error.end < len(head):
            return True
        text = head[: error.start].decode("utf-8-sig")
    return kinds.is_html(text[: kinds.HEAD], name)


def why_no_document(head: bytes) -> str:
    """Say why no parser reads a file, as far as its beginning tells; empty when one may."""
    if known := kinds.refused(head):
        return known
    # Text in UTF-16 and UTF-32 has NUL bytes too, and a mark.
    marked = head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))
    return "binary data" if b"\0" in head and not (marked or kinds.is_pdf(head) or kinds.is_zip(head)) else ""


def _ending(name: str) -> str:
    last = name.rpartition("/")[2]
    return last[last.rindex(".") :] if "." in last else last
