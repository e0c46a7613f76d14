"""Make the corpus of records: the operations of an API client through four of its releases, as a stream of changes.

    python tools/records.py OUT

    OUT/wheels/          the wheels of botocore (Apache-2.0), pinned by SHA-256, got with pip: 56 MB
    OUT/changes.jsonl    one change a line: {"id", "op", "body": {"title", "text", "meta"}, "time", "release"}
    OUT/report.json      what each release holds and changes; written last, so it says that the rest is whole

A record is an operation of a service: its title and documentation, and beside them what it takes and gives. Many edits
touch only the latter, and whole services go at once. Needs Python and pip alone; a second run needs neither network nor
time.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import html
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

#: The wheels, the oldest first. With more of the releases between them the edits hardly become more.
WHEELS = {
    "1.34.0": "6ec19f6c9f61c3df22fb3e083940ac7946a3d96128db1f370f10aea702bb157f",
    "1.37.0": "d01661f38c0edac87424344cdf4169f3ab9bc1bf1b677c8b230d025eb66c54a3",
    "1.40.0": "2063e6d035a6a382b2ae37e40f5144044e55d4e091910d0c9f1be3121ad3e4e6",
    "1.44.5": "8f16a56d1dff125dd65322ae021efa7ba5195a6db5102b96862566055b748921",
}
#: Counts up when the same wheels give other changes.
LAYOUT = 1

_TAG = re.compile(r"<[^>]+>")

Body = dict[str, Any]


class Release(NamedTuple):
    """A release: when it was made, and its records."""

    version: str
    time: datetime
    records: Mapping[str, Body]


# --- the wheels


def provide(folder: Path) -> list[Path] | None:
    """Return the wheels, fetched with pip as far as they are missing; None when pip could not."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {version: folder / f"botocore-{version}-py3-none-any.whl" for version in WHEELS}
    missing = [version for version, path in wanted.items() if not _is_whole(path, WHEELS[version])]
    if missing:
        print(f"fetching botocore {', '.join(missing)} with pip, once, into {folder}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as landing:
            for version in missing:  # one a call: pip takes one version of a package at a time
                if not _fetch(version, Path(landing)):
                    return None
                (Path(landing) / wanted[version].name).replace(wanted[version])
    return list(wanted.values())


def _fetch(version: str, landing: Path) -> bool:
    requirement = landing / "requirement.txt"
    requirement.write_text(f"botocore=={version} --hash=sha256:{WHEELS[version]}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "2"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(requirement)]
    return subprocess.run([*command, "--dest", str(landing)], check=False).returncode == 0


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and _sha256(path) == digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- their records


def read(path: Path) -> Release:
    """Read a release: one record for each operation of the newest version of each service."""
    with zipfile.ZipFile(path) as wheel:
        newest: dict[str, str] = {}
        for name in sorted(wheel.namelist()):
            match name.split("/"):
                case ["botocore", "data", service, _, file] if file.startswith("service-2.json"):
                    newest[service] = name
        records = {
            f"{service}.{name}": body
            for service, file in newest.items()
            for name, body in _operations(service, json.loads(gzip.decompress(wheel.read(file)))).items()
        }
        time = datetime(*max(it.date_time for it in wheel.infolist()), tzinfo=UTC)
    return Release(path.name.split("-")[1], time, records)


def _operations(service: str, model: Mapping[str, Any]) -> dict[str, Body]:
    metadata, shapes = model["metadata"], model["shapes"]

    def members(operation: Mapping[str, Any], side: str) -> list[str]:
        return sorted(shapes[operation[side]["shape"]].get("members", ())) if side in operation else []

    return {
        name: {
            "title": f"{metadata.get('serviceFullName', service)}: {name}",
            "text": _plain(operation.get("documentation", "")),
            "meta": {
                "service": service,
                "api": metadata.get("apiVersion"),
                "http": f"{operation['http']['method']} {operation['http']['requestUri']}",
                "input": members(operation, "input"),
                "output": members(operation, "output"),
                "errors": sorted(error["shape"] for error in operation.get("errors", ())),
                "deprecated": bool(operation.get("deprecated")),
            },
        }
        for name, operation in model["operations"].items()
    }


def _plain(markup: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())


# --- what a release changes


def changes(before: Mapping[str, Body], release: Release) -> Iterator[dict[str, Any]]:
    """Yield what leads from the records before to a release's: deletes first, a millisecond between changes."""
    gone = sorted(before.keys() - release.records.keys())
    written = sorted(name for name, body in release.records.items() if before.get(name) != body)
    for number, name in enumerate([*gone, *written]):
        time = (release.time + timedelta(milliseconds=number)).isoformat(timespec="milliseconds")
        change: dict[str, Any] = {"id": name, "op": "delete"}
        if name in release.records:
            change = {"id": name, "op": "upsert", "body": release.records[name]}
        yield {**change, "time": time, "release": release.version}


def counted(before: Mapping[str, Body], release: Release) -> dict[str, Any]:
    """Say what a release changes."""
    both = before.keys() & release.records.keys()
    edited = [name for name in both if before[name] != release.records[name]]
    return {
        "release": release.version,
        "records": len(release.records),
        "added": len(release.records.keys() - before.keys()),
        "edited": len(edited),
        "edited_metadata_only": sum(
            all(before[name][part] == release.records[name][part] for part in ("title", "text")) for name in edited
        ),
        "deleted": len(before.keys() - release.records.keys()),
    }


def make(wheels: Sequence[Path], out: Path) -> dict[str, Any]:
    """Write the changes into `out`; return the report."""
    before: Mapping[str, Body] = {}
    rows = []
    path = out / "changes.jsonl"
    with ProcessPoolExecutor(2) as pool, path.open("w", encoding="utf-8") as file:
        for release in pool.map(read, wheels):
            file.writelines(json.dumps(change, ensure_ascii=False) + "\n" for change in changes(before, release))
            rows.append(counted(before, release))
            before = release.records
    return {"pins": [LAYOUT, WHEELS], "changes_sha256": _sha256(path), "releases": rows}


def whole(out: Path) -> dict[str, Any] | None:
    """The report of a corpus that is there already, made from the same wheels; None when there is none."""
    try:
        report: dict[str, Any] = json.loads((out / "report.json").read_text())
        same = _is_whole(out / "changes.jsonl", report["changes_sha256"]) and report["pins"] == [LAYOUT, WHEELS]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return report if same else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    report = whole(out)
    if report is None:
        wheels = provide(out / "wheels")
        if wheels is None:
            print("pip could not fetch the wheels: check the network and pip's settings", file=sys.stderr)
            return 4
        (out / "report.json").unlink(missing_ok=True)
        report = make(wheels, out)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")  # anew: for make it is as new as this tool
    for row in report["releases"]:
        print(json.dumps(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())
