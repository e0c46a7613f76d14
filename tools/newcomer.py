"""Follows the README's first run to the letter, as somebody does who has nothing but a checkout and a folder of notes.

The virtual environment that the README makes is empty, and Headwater gets into it as the wheel that pip builds. What it
depends on is not fetched: the Python that runs this lends it, by PYTHONPATH, and nothing else: no `headwater` command,
no sources, and no package that `project.dependencies` and what builds the wheel do not ask for.
"""

from __future__ import annotations

import os
import re
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from itertools import islice
from pathlib import Path

from packaging.requirements import Requirement

from tools.pages import play, steps

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "build" / "corpus" / "releases"
DOCUMENTS = 500
_HIT = re.compile(r"^\d+\. \d\.\d+  (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class FirstRun:
    """How it went: the exit code of the shell, what it printed, and how long it took, up to the first hit."""

    code: int
    printed: str
    seconds: float

    @property
    def hits(self) -> list[str]:
        """The documents that were found, the best first."""
        return _HIT.findall(self.printed)


def quickstart(readme: str) -> list[str]:
    """Return the commands of the README's section on the first run."""
    section = readme.partition("\n## First run\n")[2].partition("\n## ")[0]
    return [step.script for step in steps(section)]


def follow(home: Path) -> FirstRun:
    """Follow the README in a home that holds nothing but notes, in `~/my-notes`."""
    (home / "my-notes").mkdir()
    for name, text in islice(_documents(), DOCUMENTS):
        place = home / "my-notes" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text)
    environment = _environment(home)
    scripts = quickstart((ROOT / "README.md").read_text())
    began = time.perf_counter()
    played = play([f"cd {ROOT}", *scripts], home, environment)
    return FirstRun(played.code, "".join(played.outputs), time.perf_counter() - began)


def _documents() -> Iterator[tuple[str, bytes]]:
    """Return names and texts: of the corpus, where `make corpus` was run, else made up."""
    release = next(iter(sorted(CORPUS.glob("1-*"))), None)
    if release is None:
        for number in range(DOCUMENTS):
            text = f"# Note {number}\n\n" + f"The keeper of lock {number} says that the water is low. " * 200
            yield f"{number}.md", text.encode()
        return
    for path in sorted(release.rglob("*.txt")):
        yield str(path.relative_to(release)), path.read_bytes()


def _closure(asked: Iterable[str]) -> list[Distribution]:
    """Return what is installed of what is asked for, and of what that asks for in turn, without extras."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(it) for it in asked]
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found[name] = distribution(name)
            waiting += [Requirement(it) for it in found[name].requires or ()]
    return list(found.values())


def _environment(home: Path) -> dict[str, str]:
    lent, commands = home / ".lent", home / ".commands"
    lent.mkdir()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = _closure([*project["project"]["dependencies"], *project["build-system"]["requires"]])
    # A file of `../../bin` is a command: nobody lends that.
    for place in {Path(str(it.locate_file(file.parts[0]))) for it in needed for file in it.files or ()}:
        if place.name not in {"..", "__pycache__"}:
            (lent / place.name).symlink_to(place)
    commands.mkdir()
    # That of a virtual environment would be known by its real place.
    (commands / "python3").symlink_to(Path(sys.executable).resolve())
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "PATH": os.pathsep.join([str(commands), "/usr/local/bin", "/usr/bin", "/bin"]),
        "PYTHONPATH": str(lent),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "false",  # pip reads it so: no isolation. What builds the wheel is lent too
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
