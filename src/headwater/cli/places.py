"""Where in the configuration file a setting stands that turned out wrong only when it was used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headwater.errors import Misconfigured


def located(error: Misconfigured, config: Path) -> Misconfigured:
    """Add the place to an error that has none: that of its key, or of the nearest one around it."""
    if error.file is not None:
        return error
    from headwater.settings.explaining import place_of
    from headwater.settings.nodes import Parsing

    try:
        root = Parsing(str(config)).read(config.read_text(encoding="utf-8-sig"))
    except (Misconfigured, OSError, UnicodeError):
        root = None  # it was changed after it was read
    if root is None:
        return replace(error, file=str(config))
    place = place_of(root, tuple(error.path.split(".")), key=True)
    return replace(error, file=str(config), line=place.line, column=place.column)
