"""Plays the tutorial as a reader does, and writes down what the terminal showed: `python -m tools.record_tutorial`.

docs/tutorial/session.txt for reading, session.svg for looking at. Time stamps are masked.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tools.pages import agrees, play, steps, with_headwater

TUTORIAL = Path(__file__).resolve().parents[1] / "docs" / "tutorial" / "ten-minutes.md"
SESSION = TUTORIAL.with_name("session.txt")
DRAWING = TUTORIAL.with_name("session.svg")
WIDTH = 130
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def typed(script: str) -> str:
    """Return commands as they are pasted into a terminal."""
    return "$ " + script.rstrip("\n").replace("\n", "\n  ")


def record() -> str:
    """Return the session. Raise AssertionError when the tutorial does not run, or shows something else."""
    todo = steps(TUTORIAL.read_text())
    with tempfile.TemporaryDirectory() as folder:
        played = play([step.script for step in todo], Path(folder), with_headwater(os.environ))
    assert played.code == 0, played.outputs[-1]
    parts = []
    for step, printed in zip(todo, played.outputs, strict=True):
        assert step.shown is None or agrees(step.shown, printed), step.script
        unstamped = _STAMP.sub(lambda stamp: re.sub(r"\d", "0", stamp[0]), printed)
        parts.append(f"{typed(step.script)}\n{unstamped}")
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def draw(session: str) -> str:
    """Return a session as an SVG."""
    # All that it would find out by itself is said, so that the drawing does not depend on the terminal.
    console = Console(
        record=True,
        file=io.StringIO(),
        width=WIDTH,
        height=50,
        force_terminal=True,
        color_system="truecolor",
        no_color=False,
    )
    text = Text(session)
    for step in steps(TUTORIAL.read_text()):
        commands = typed(step.script)
        place = session.find(commands)
        text.stylize("bold green", place, place + len(commands))
    console.print(text)
    drawing = console.export_svg(title="Ten minutes with Headwater", unique_id="headwater")
    return re.sub(r"\s*@font-face \{.*?\}\n", "\n", drawing, flags=re.DOTALL)  # fonts that would be fetched


def main() -> int:
    session = record()
    SESSION.write_text(session)
    DRAWING.write_text(draw(session))
    print(f"wrote {SESSION.name} and {DRAWING.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
