"""Looks at the configuration file itself: what is written in it, and who may read it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

from headwater.doctor.files_look import exposed
from headwater.errors import Misconfigured
from headwater.settings.nodes import Node, Parsing


class FoundText(NamedTuple):
    """The file: its tree, its mode, and whether others on this machine may come as far as to it."""

    root: Node | None
    mode: int
    exposed: bool


def look_at_text(config: Path) -> FoundText:
    """Look at a configuration file that was read a moment ago."""
    try:
        mode = stat.S_IMODE(config.stat().st_mode)
        root = Parsing(str(config)).read(config.read_text(encoding="utf-8-sig"))
    except (Misconfigured, OSError, UnicodeError):
        return FoundText(None, 0, exposed=False)  # it was changed after it was read
    return FoundText(root, mode, exposed(config.absolute().parent))
