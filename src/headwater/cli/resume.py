"""`headwater resume`: lets a paused stream go on, and accepts another log in front of an index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from headwater.cli.options import Config, Stream, config_of, opened, perform
from headwater.cli.output import tell
from headwater.cli.steering import steer
from headwater.model.registry import StreamState


def resume(
    context: typer.Context,
    stream: Stream,
    accept_log_epoch: Annotated[
        bool,
        typer.Option(
            "--accept-log-epoch",
            help="The log that is there now is the right one, although the index was built from another: begin a new "
            "log epoch from what is committed on. It begins one even if nothing looks wrong.",
        ),
    ] = False,
    config: Config = None,
) -> None:
    """Let a paused stream go on."""
    perform(_resume(config_of(context, config), stream, accept_log_epoch))


async def _resume(config: Path, stream: str, accept: bool) -> None:
    def resumed(state: StreamState) -> StreamState:
        return msgspec.structs.replace(state, paused="", accept_epoch=state.accept_epoch or accept)

    async with opened(config, stream) as site:
        before = await steer(site.registry(), stream, resumed)
        running = site.journal.worker() is not None
    tell(f"{stream} goes on" if before.paused else f"{stream} was not paused")
    if accept:
        tell(f"{stream}: the log that is there now is accepted when the stream is next opened")
    if not running:
        tell("no worker is running: `headwater run` starts one")
