"""An archive for a bug report: what was found, the configuration without secrets, and versions. Never a document."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import msgspec

from headwater import __version__
from headwater.doctor.settings import without_secrets, without_values
from headwater.doctor.settings_look import look_at_text
from headwater.observability.findings import Finding
from headwater.settings.failures import ConfigurationErrors
from headwater.settings.loading import read
from headwater.settings.origins import nested, values
from headwater.settings.schema import Settings

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def write_bundle(path: Path, findings: Sequence[Finding], config: Path) -> list[str]:
    """Write the archive, and return the names of what is in it. Raise OSError, such as FileExistsError."""
    held: dict[str, object] = {"findings.json": list(map(without_values, findings)), "versions.json": _versions()}
    configuration = _configuration(config)
    if configuration is not None:
        held["configuration.json"] = configuration
    texts = {name: msgspec.json.format(msgspec.json.encode(content), indent=2) for name, content in held.items()}
    with path.open("xb") as file:
        try:
            with ZipFile(file, "w", ZIP_DEFLATED) as archive:
                for name, text in texts.items():
                    archive.writestr(name, text)
        except BaseException:
            path.unlink()  # half an archive is none, and would stand in the way of the next
            raise
    return list(held)


def _configuration(config: Path) -> object:
    """Return what `config show` shows, without what variables hold; of a file that cannot be used what may be shown."""
    try:
        found = values(*read(config, os.environ), os.environ)
    except ConfigurationErrors:
        root = look_at_text(config).root
        return None if root is None else without_secrets(Settings, root, {"folder": config.absolute().parent})
    return nested([replace(it, value=" and ".join(it.variables)) if it.variables else it for it in found])


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
