"""`headwater pause`: the stream's worker settles what is in flight, and waits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from headwater.cli.options import Config, Stream, config_of, opened, perform
from headwater.cli.output import tell
from headwater.cli.steering import steer
from headwater.model.registry import StreamState


def pause(
    context: typer.Context,
    stream: Stream,
    reason: Annotated[str, typer.Option("--reason", help="Why; others see it.")] = "paused by hand",
    config: Config = None,
) -> None:
    """Pause a stream.

    Its worker settles what is in flight, and waits. Changes still come in, and wait in the log.
    """
    perform(_pause(config_of(context, config), stream, reason.strip() or "paused by hand"))


async def _pause(config: Path, stream: str, reason: str) -> None:
    def paused(state: StreamState) -> StreamState:
        return state if state.paused else msgspec.structs.replace(state, paused=reason)

    async with opened(config, stream) as site:
        before = await steer(site.registry(), stream, paused)
    if before.paused:
        tell(f"{stream} was paused already: {before.paused}")
    else:
        tell(f"{stream} is paused; `headwater resume {stream}` lets it go on")


def with_way_on(reason: str, stream: str) -> str:
    """Return why a stream is paused and how it goes on. A worker's own reason says so itself."""
    return reason if says_way_on(reason, stream) else f"{reason}; {_way_on(stream)} lets it go on"


def says_way_on(reason: str, stream: str) -> bool:
    """Tell whether the reason is a worker's own: it paused its stream itself, and says how it goes on."""
    return _way_on(stream) in reason


def _way_on(stream: str) -> str:
    return f"`headwater resume {stream}`"
