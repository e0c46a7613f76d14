"""A stream of document changes from successive releases: reading an archive's documents, and what one release changes.

Needs nothing but Python, so that `tools/corpus.py` runs in a fresh checkout.
"""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from headwater.demo.pins import FOLDER, SUFFIX

#: The corpus has a time of its own: a second a change from here on.
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)

_BLANK_LINES = re.compile(r"\n\s*\n")


def documents(archive: Path) -> dict[str, str]:
    """Read a source distribution's documents: their text by their path in its documentation. Blank ones are none."""
    found: dict[str, str] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, inside = member.name.partition("/")
            if not (member.isfile() and inside.startswith(FOLDER) and inside.endswith(SUFFIX)):
                continue
            name = inside.removeprefix(FOLDER)
            content = tar.extractfile(member)
            assert content is not None, "a regular file has content"
            text = content.read().decode("utf-8", "replace")
            if text.strip() and ".." not in PurePosixPath(name).parts:
                found[name] = text
    return found


class Difference(NamedTuple):
    """What lies between two states of a folder: names of documents, each in order."""

    added: tuple[str, ...]
    edited: tuple[str, ...]
    deleted: tuple[str, ...]

    @property
    def written(self) -> tuple[str, ...]:
        """The documents to be written: added and edited ones."""
        return tuple(sorted(self.added + self.edited))

    @property
    def total(self) -> int:
        """How many changes that makes."""
        return len(self.added) + len(self.edited) + len(self.deleted)


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> Difference:
    """Compare two states."""
    return Difference(
        added=tuple(sorted(after.keys() - before.keys())),
        edited=tuple(sorted(name for name in after.keys() & before.keys() if before[name] != after[name])),
        deleted=tuple(sorted(before.keys() - after.keys())),
    )


class Step(NamedTuple):
    """One step of the corpus: a release, its documents, and what it changes."""

    version: str
    documents: Mapping[str, str]
    changed: Difference
    paragraphs_changed: float | None


def steps(releases: Iterator[tuple[str, Mapping[str, str]]]) -> Iterator[Step]:
    """Compare each release with the one before it; the first with nothing."""
    before: Mapping[str, str] = {}
    for version, after in releases:
        changed = difference(before, after)
        yield Step(version, after, changed, _paragraphs_changed(before, after, changed.edited))
        before = after


def changes(step: Step, start: datetime) -> Iterator[dict[str, Any]]:
    """Yield a step as `headwater publish` reads it: deletes first, a second between changes, from `start` on."""
    names = (*step.changed.deleted, *step.changed.written)
    for number, name in enumerate(names, start=1):
        change: dict[str, Any] = {"id": name, "op": "upsert" if name in step.documents else "delete"}
        if name in step.documents:
            change["text"] = step.documents[name]
        yield {**change, "time": (start + timedelta(seconds=number)).isoformat(), "release": step.version}


def _paragraphs_changed(before: Mapping[str, str], after: Mapping[str, str], edited: tuple[str, ...]) -> float | None:
    """The share of paragraphs in edited documents that were not in them before; None without edits."""
    total = fresh = 0
    for name in edited:
        now = _paragraphs(after[name])
        total += now.total()
        fresh += (now - _paragraphs(before[name])).total()
    return round(fresh / total, 4) if total else None


def _paragraphs(text: str) -> Counter[str]:
    return Counter(part.strip() for part in _BLANK_LINES.split(text) if part.strip())


def write(folder: Path, state: Mapping[str, str], names: tuple[str, ...]) -> None:
    """Write documents as files, byte for byte."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(state[name], encoding="utf-8", newline="\n")


def remove(folder: Path, names: tuple[str, ...]) -> None:
    """Delete files."""
    for name in names:
        (folder / name).unlink()
