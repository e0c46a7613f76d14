"""The commands of a page of the docs: found, played in one shell, and compared with the output that the page shows.

A block of `sh` is a step. A block of `output` right behind it is what the step prints, stdout and stderr as a terminal
shows them. What differs from run to run is masked on both sides: times, decimals, versions, digests. `…` stands for
anything within a line, and on a line of its own for any number of lines.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 500
_BLOCK = re.compile(r"^```sh\n(.*?)^```$(?:\s*^```output\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b[0-9a-f]{12,}\b"), "DIGEST"),
    (re.compile(r"\bprocess \d+"), "process N"),
    (re.compile(r"(?<![\d.])\d+\.\d+(\.\d+)?(?!\.?\d)"), "N"),  # but not a change's version, of four numbers
)


@dataclass(frozen=True)
class Step:
    """Commands that a reader types, and what the page says they print, if it does."""

    script: str
    shown: str | None


@dataclass(frozen=True)
class Played:
    """What the steps printed that were begun, and how the last of them ended."""

    outputs: Sequence[str]
    code: int


def steps(page: str) -> list[Step]:
    """Return the steps of a page in Markdown."""
    return [Step(script, shown or None) for script, shown in _BLOCK.findall(page)]


def play(scripts: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Played:
    """Run scripts one after the other in one shell, which ends at the first command that fails. It begins in `folder`.

    Whatever it leaves in the background is killed. In the outputs `~` stands for the folder.
    """
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / str(number) for number in range(len(scripts))]
        whole = "\n".join(f"exec >{file} 2>&1\n{script}" for file, script in zip(files, scripts, strict=True))
        shell = subprocess.Popen(["bash", "-euc", whole], cwd=folder, env=environment, start_new_session=True)
        try:
            code = shell.wait(LIMIT_S)
        finally:
            # What the scripts left in the background, and the shell itself if it took too long.
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        outputs = [file.read_text().replace(str(folder), "~") for file in files if file.exists()]
    return Played(outputs, code)


def with_headwater(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which `headwater` and `python` are those of the Python that runs this."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return {**environment, "PATH": path}


def masked(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return "".join(f"{' '.join(line.split())}\n" for line in text.strip().splitlines())


def agrees(shown: str, printed: str) -> bool:
    """Say whether what a page shows is what was printed."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
        for line in masked(shown).splitlines()
    )
    return re.fullmatch(pattern, masked(printed)) is not None
