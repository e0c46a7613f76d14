"""What several verbs take: the configuration file, the stream, the form of the output."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.failures import Mistake, NoConfiguration, unknown_stream
from headwater.cli.output import flush
from headwater.cli.places import located
from headwater.errors import Misconfigured
from headwater.settings.failures import ConfigurationErrors, Unfit
from headwater.settings.units import duration_s
from headwater.wiring import Site, open_site

DEFAULT_CONFIG = Path("headwater.yaml")

Stream = Annotated[str, typer.Argument(metavar="STREAM", help="The stream's name in the configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON document.")]
#: `--config` stands before the verb; people write it behind it as well.
Config = Annotated[Path | None, typer.Option("--config", "-c", hidden=True)]


def config_of(context: typer.Context, behind: Path | None) -> Path:
    """Return the configuration file that was named behind the verb, before it, in the environment, or by default."""
    before = context.find_root().obj
    return behind or (before if isinstance(before, Path) else DEFAULT_CONFIG)


def duration(option: str, text: str) -> float:
    """Return the seconds that an option says. Raise Mistake when it is no duration."""
    try:
        return duration_s(text)
    except Unfit as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise Mistake(f"{option} takes {error.expected}, not {text!r}{hint}") from None


def site_of(config: Path) -> Site:
    """Read a configuration file. Raise ConfigurationErrors with every error that it has."""
    if not config.exists():
        raise ConfigurationErrors([NoConfiguration(config)])
    return open_site(config, os.environ)


@asynccontextmanager
async def opened(config: Path, stream: str | None = None) -> AsyncIterator[Site]:
    """Open what a configuration file names, and close it. Raise Mistake when the stream is not in it."""
    site = site_of(config)
    if stream is not None and stream not in site.streams:
        raise unknown_stream(stream, site.streams)
    try:
        yield site
    except Misconfigured as error:
        raise located(error, config) from error
    finally:
        await site.close()


def perform(work: Coroutine[Any, Any, int | None]) -> None:
    """Run a verb's work, and end with the exit code that it returns."""
    code = asyncio.run(work)
    flush()
    if code:
        raise typer.Exit(int(code))
