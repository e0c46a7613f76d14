"""`headwater config show`: every setting that is in effect, and where it comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.failures import NoConfiguration
from headwater.cli.options import Config, Json, config_of
from headwater.cli.output import flush, say, write_json
from headwater.settings.failures import ConfigurationErrors

if TYPE_CHECKING:
    from headwater.settings.origins import Value

#: Where an origin stands, if its line is not longer.
_COLUMN = 48

config_verbs = typer.Typer(
    name="config",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show every setting that is in effect, and where it comes from.",
)


@config_verbs.callback()
def _config() -> None:
    """Show every setting that is in effect, and where it comes from."""


@config_verbs.command()
def show(
    context: typer.Context,
    origin: Annotated[
        bool, typer.Option("--origin", help="Where each value comes from: the file's line, a variable, the default.")
    ] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show every setting that is in effect, the defaults too, as YAML that could stand in the file.

    Secrets are hidden, whatever they come from. What has no value is left out.
    --json writes {"config": {...}}, with --origin {"origins": {PATH: {"from", "file", "line", "column", "variables"}}}
    as well; from is file, environment or default.
    """
    from headwater.settings.loading import read
    from headwater.settings.origins import lines, nested, values

    path = config_of(context, config)
    if not path.exists():
        raise ConfigurationErrors([NoConfiguration(path)])
    found = values(*read(path, os.environ), os.environ)
    if json:
        shape: dict[str, Any] = {"config": nested(found)}
        if origin:
            shape["origins"] = {".".join(it.path): _origin(it, path) for it in found}
        write_json(shape)
        return
    for line, value in lines(found):
        say(f"{line:<{_COLUMN}}  # {value.origin(path)}" if origin and value else line)
    flush()


def _origin(value: Value, file: Path) -> dict[str, Any]:
    place = value.place
    if place is None:
        return {"from": "default"}
    return {
        "from": "environment" if value.variables else "file",
        "file": str(file),
        "line": place.line,
        "column": place.column,
        "variables": list(value.variables),
    }
