"""Make the document corpus: the documentation of a real package through seven releases, as a stream of changes.

    python tools/corpus.py OUT

    OUT/archives/                 the source distributions, pinned by SHA-256 (src/headwater/demo/pins.py), got with pip
    OUT/changes.jsonl             one change a line: {"id", "op", "text", "time", "release"}
    OUT/releases/<n>-<version>/   the documents as files, at each step
    OUT/report.json               what each step holds and changes; written last, so it says that the rest is whole

Needs Python and pip alone. A second run needs no pip and no network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from headwater.demo import corpus
from headwater.demo.archives import provide
from headwater.demo.pins import RELEASES, STEPS, release
from headwater.errors import Unreachable

#: Counts up when the same archives give other files.
LAYOUT = 1


def whole(out: Path) -> dict[str, Any] | None:
    """The report of a corpus that is there already, made from the same pins; None when there is none."""
    try:
        report: dict[str, Any] = json.loads((out / "report.json").read_text())
        with (out / "changes.jsonl").open("rb") as file:
            same = hashlib.file_digest(file, "sha256").hexdigest() == report["changes_sha256"]
        return report if same and report["pins"] == pins() and folders(out) else None
    except (FileNotFoundError, ValueError, KeyError):
        return None


def folders(out: Path) -> bool:
    return all((out / "releases" / f"{number}-{version}").is_dir() for number, version in enumerate(STEPS, start=1))


def pins() -> list[Any]:
    return [LAYOUT, list(STEPS), [list(one) for one in RELEASES]]


def read(archives: Mapping[str, Path]) -> Iterator[tuple[str, Mapping[str, str]]]:
    for version in STEPS:
        yield version, corpus.documents(archives[version])


def make(archives: Mapping[str, Path], work: Path) -> dict[str, Any]:
    """Write the changes and the releases into `work`; return the report."""
    clock = corpus.EPOCH
    rows = []
    with (work / "changes.jsonl").open("w", encoding="utf-8") as file:
        for number, step in enumerate(corpus.steps(read(archives)), start=1):
            for change in corpus.changes(step, clock):
                file.write(json.dumps(change) + "\n")
            clock += timedelta(seconds=step.changed.total)
            corpus.write(work / "releases" / f"{number}-{step.version}", step.documents, tuple(step.documents))
            rows.append(
                {
                    "release": step.version,
                    "documents": len(step.documents),
                    "characters": sum(map(len, step.documents.values())),
                    "added": len(step.changed.added),
                    "edited": len(step.changed.edited),
                    "deleted": len(step.changed.deleted),
                    "paragraphs_changed_in_edited": step.paragraphs_changed,
                }
            )
    with (work / "changes.jsonl").open("rb") as raw:
        sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
    return {"pins": pins(), "changes_sha256": sha256, "steps": rows}


def install(work: Path, out: Path, report: dict[str, Any]) -> None:
    """Put what was made in place of what was there; while that lasts there is no report."""
    (out / "report.json").unlink(missing_ok=True)
    if (out / "releases").exists():
        shutil.rmtree(out / "releases")
    (work / "releases").rename(out / "releases")
    (work / "changes.jsonl").replace(out / "changes.jsonl")
    (work / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (work / "report.json").replace(out / "report.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    report = whole(out)
    if report is None:
        try:
            found = provide([out / "archives"], [release(version) for version in dict.fromkeys(STEPS)], notice)
        except Unreachable as error:
            notice(f"{error}.")
            return 4
        with tempfile.TemporaryDirectory(prefix=".making-", dir=out) as work:
            report = make({one.version: path for one, path in found.items()}, Path(work))
            install(Path(work), out, report)
    else:
        (out / "report.json").touch()  # for make: it is as new as this tool
    for row in report["steps"]:
        print(json.dumps(row))
    return 0


def notice(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
