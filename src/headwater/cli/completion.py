"""What a shell completes: the names of streams, from the configuration that the command line names.

A shell asks with each press of a key. So the text is read and nothing else: no settings, no model, no file of the log.
Whatever is wrong with it, there is just nothing to complete.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import typer

DEFAULT_CONFIG = Path("headwater.yaml")

#: A larger file is no configuration.
_BYTES_MAX = 1 << 20


def stream_names(context: typer.Context) -> list[str]:
    """Return the names of the streams; typer picks those that begin as what was typed.

    Nothing else that stands there comes out: zsh evaluates what it is given.
    """
    from headwater.settings.nodes import STREAM_NAME, Mapping, Parsing

    try:
        path = _config(context)
        if path.stat().st_size > _BYTES_MAX:
            return []
        root = Parsing(str(path)).read(path.read_text(encoding="utf-8-sig"))
    except Exception:  # noqa: BLE001 (a shell shows no message here: the command itself says what is wrong)
        return []
    entry = root.entries.get("streams") if isinstance(root, Mapping) else None
    streams = entry[1] if entry else None
    names = streams.entries if isinstance(streams, Mapping) else ()
    return [name for name in names if re.fullmatch(STREAM_NAME, name)]


def _config(context: typer.Context) -> Path:
    """Return the file that is named behind the verb, before it, in the environment, or by default."""
    named = (context.params.get("config"), context.find_root().params.get("config"), os.environ.get("HEADWATER_CONFIG"))
    return next((Path(it) for it in named if it), DEFAULT_CONFIG)
