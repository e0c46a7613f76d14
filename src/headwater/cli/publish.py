"""`headwater publish`: appends changes to a stream, whether its worker runs or not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from headwater.cli.failures import Exit, Mistake
from headwater.cli.options import Config, Stream, config_of, opened, perform
from headwater.cli.output import tell, write_json
from headwater.observability.findings import counted

STDIN = Path("-")


def publish(
    context: typer.Context,
    stream: Stream,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines; - is stdin.")] = STDIN,
    config: Config = None,
) -> None:
    """Append changes, one JSON object a line.

    A line is {"id", "op": "upsert" or "delete", "body" or "text", "time"}; op is upsert and time is now when they are
    left out, and unknown keys are kept as metadata. Prints {"appended", "rejected"} once what was appended is durable;
    exit 1 when a line was rejected. The stream's worker may run meanwhile.
    """
    perform(_publish(config_of(context, config), stream, file))


async def _publish(config: Path, stream: str, file: Path) -> int:
    from headwater.sources.jsonl import publish as append

    durable = 0

    def count(appended: int, _rejected: int) -> None:
        nonlocal durable
        durable = appended

    def interrupted() -> None:
        # At once: the thread that waits for a line on stdin cannot be called back.
        tell(f"headwater: interrupted; {counted(durable, 'change')} appended")
        os._exit(130)

    async with opened(config, stream) as site:
        if site.settings.streams[stream].topic:
            raise Mistake(f"{stream} reads another system's topic: changes are written there, not by `publish`")
        await site.journal.prepare()
        with _lines(file) as lines:
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted)
            try:
                appended, rejected = await append(
                    lines,
                    site.writer(stream, os.environ.get("TRACEPARENT", "")),
                    site.clock,
                    lambda number, reason: tell(f"line {number}: {reason}"),
                    count,
                )
            except Exception:  # whatever it was, say what is durable already
                tell(f"headwater: {counted(durable, 'change')} appended before this:")
                raise
    write_json({"appended": appended, "rejected": rejected})
    return Exit.FAILED if rejected else Exit.OK


def _lines(file: Path) -> BinaryIO:
    if file == STDIN:
        if sys.stdin is None:
            raise Mistake("stdin is closed: name a file")
        if sys.stdin.isatty():
            tell("reading changes from the terminal, a JSON object a line; end with Ctrl-D")
        return sys.stdin.buffer
    try:
        return file.open("rb")
    except OSError as error:
        raise Mistake(f"{file}: {error.strerror or error}") from error
