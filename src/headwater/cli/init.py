"""`headwater init`: a configuration to begin with, and a document to search for."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.failures import Failure
from headwater.cli.options import DEFAULT_CONFIG
from headwater.cli.output import say, tell

_EXAMPLE = """\
# Welcome to Headwater

Every file in this folder is a document. Change it, and the index follows within the stream's freshness budget.

## What happens to a change

A change goes through a durable log first. A worker cuts the document into chunks, embeds the chunks that are new, and
writes the document to the index as a whole. A worker that is killed in between repeats the work without effect.

## What happens to a delete

Remove the file, and the document leaves the index. A fence stays behind, so that nothing older can bring it back.
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to begin in.")] = Path(),
) -> None:
    """Write headwater.yaml and a folder of documents to begin with."""
    from headwater.settings.reference import template

    config = folder / DEFAULT_CONFIG
    if config.exists():
        raise Failure(f"{config} exists already: nothing was changed. Remove it first, or name another folder")
    docs = folder / "docs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not docs.exists():
            docs.mkdir()
            (docs / "welcome.md").write_text(_EXAMPLE, encoding="utf-8")
            tell(f"wrote {docs / 'welcome.md'}")
        with config.open("x", encoding="utf-8") as file:
            file.write(template())
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror or error}. Check the path and its permissions") from error
    tell(f"wrote {config}")
    tell("next:")
    if folder != Path():
        say(f"cd {shlex.quote(str(folder))}")
    say("headwater run --once")
    say('headwater search articles "what happens to a delete"')
