"""`headwater export`: what the serving index generation holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.options import Config, Stream, config_of, opened, perform
from headwater.cli.output import write_json


def export(
    context: typer.Context,
    stream: Stream,
    jsonl: Annotated[  # noqa: ARG001 (there is only this form; the flag is part of the stable shape)
        bool, typer.Option("--jsonl", help="A JSON object a line; there is no other form.")
    ] = True,
    deleted: Annotated[bool, typer.Option("--deleted", help="The fences of deleted documents too.")] = False,
    vectors: Annotated[bool, typer.Option("--vectors", help="The chunks' vectors too.")] = False,
    config: Config = None,
) -> None:
    """Write every document of a stream's index.

    A line a document: {"id", "version", "deleted", "payload", "chunks": [{"id", "text", "digest"}]}.
    """
    perform(_export(config_of(context, config), stream, deleted, vectors))


async def _export(config: Path, stream: str, deleted: bool, vectors: bool) -> None:
    from headwater.retrieval.export import export as exported

    async with opened(config, stream) as site:
        async for line in exported(site.index(stream), deleted=deleted, vectors=vectors):
            write_json(line)
