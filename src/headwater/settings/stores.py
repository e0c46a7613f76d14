"""Where a log or an index lives: a URL in the file, a resolved place in the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headwater.settings.failures import Unfit

EXPECTED = "sqlite:///PATH"


@dataclass(frozen=True)
class Store:
    """A kind of store and its place. `sqlite` is the only kind in this version."""

    scheme: str
    path: Path

    def __str__(self) -> str:
        return f"{self.scheme}:///{self.path}"


def store(url: str, folder: Path) -> Store:
    """Read `sqlite:///relative.db` (from the file's folder) or `sqlite:////absolute.db`."""
    prefix = "sqlite:///"
    if not url.startswith(prefix):
        raise Unfit(EXPECTED, _cure(url))
    name = url.removeprefix(prefix)
    if not name or name.endswith("/") or "\0" in name:
        raise Unfit(EXPECTED, "the path of a file is missing after sqlite:///")
    if "?" in name or "#" in name:
        raise Unfit(EXPECTED, "a path has no ? or #: there are no parameters")
    return Store("sqlite", resolved(name, folder))


def resolved(name: str, folder: Path) -> Path:
    """Make a path absolute, seen from the folder of the configuration file. Links stay what they are."""
    parts: list[str] = []
    path = folder / name
    for part in path.parts[1:]:
        if part == "..":
            parts = parts[:-1]
        else:
            parts.append(part)
    return Path(path.anchor, *parts)


def _cure(url: str) -> str | None:
    if url.startswith("sqlite:"):
        return "three slashes for a path relative to this file, four for an absolute one"
    if "://" not in url:
        return "a path alone is not enough: write sqlite:/// before it"
    return None
