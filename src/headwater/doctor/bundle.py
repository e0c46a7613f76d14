"""An archive for a bug report: what was found, the configuration without secrets, and versions. Never a document."""

from __future__ import annotations

import platform
import re
import sqlite3
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import msgspec

from headwater import __version__
from headwater.doctor.settings import without_secrets
from headwater.doctor.settings_look import look_at_text
from headwater.observability.findings import Finding

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def write_bundle(path: Path, findings: Sequence[Finding], config: Path) -> list[str]:
    """Write the archive, and return the names of what is in it. Raise OSError, such as FileExistsError."""
    held = {"findings.json": msgspec.to_builtins(findings), "versions.json": _versions()}
    root = look_at_text(config).root
    if root is not None:
        held["configuration.json"] = without_secrets(root)
    with path.open("xb") as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in held.items():
            archive.writestr(name, msgspec.json.format(msgspec.json.encode(content), indent=2))
    return list(held)


def _versions() -> dict[str, str]:
    return {
        "headwater": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        **_packages(),
    }


def _packages() -> dict[str, str]:
    """Return the versions of what Headwater may use, as far as it is installed."""
    found = {}
    try:
        needed = requires("headwater") or []
    except PackageNotFoundError:
        needed = []
    for requirement in needed:
        name = _NAME.match(requirement)
        if name:
            try:
                found[name[0]] = version(name[0])
            except PackageNotFoundError:
                found[name[0]] = "not installed"
    return found
