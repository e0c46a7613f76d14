"""`headwater lint`: every error of the configuration, each with its place."""

from __future__ import annotations

import os
from typing import Any

import typer

from headwater.cli.failures import Exit
from headwater.cli.options import Config, Json, config_of
from headwater.cli.output import tell, write_json
from headwater.errors import Misconfigured
from headwater.settings.failures import ConfigurationErrors
from headwater.wiring import open_site


def lint(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Check the configuration; name every error with its place.

    Exit 3 when there is one. --json writes {"ok", "errors"}, each error with file, line, column, path, expected, got
    and hint.
    """
    path = config_of(context, config)
    try:
        open_site(path, os.environ)
    except ConfigurationErrors as failed:
        if not json:
            raise
        write_json({"ok": False, "errors": [_shape(error) for error in failed.errors]})
        raise typer.Exit(Exit.CONFIGURATION) from None
    if json:
        write_json({"ok": True, "errors": []})
    else:
        tell(f"{path}: no errors")


def _shape(error: Misconfigured) -> dict[str, Any]:
    return {
        "file": error.file,
        "line": error.line,
        "column": error.column,
        "path": error.path,
        "expected": error.expected,
        "got": error.got,
        "hint": error.hint,
    }
