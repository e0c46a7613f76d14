"""`headwater init`: a configuration to begin with, its schema, and a document to search for."""

from __future__ import annotations

import os
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.completion import DEFAULT_CONFIG
from headwater.cli.failures import Failure
from headwater.cli.output import say, tell
from headwater.settings.templates import Template, template

_EXAMPLE = """\
# Welcome to Headwater

Every file in this folder is a document. Change it, and the index follows within the stream's freshness budget.

## What happens to a change

A change goes through a durable log first. A worker cuts the document into chunks, embeds the chunks that are new, and
writes the document to the index as a whole. A worker that is killed in between repeats the work without effect.

## What happens to a delete

Remove the file, and the document leaves the index. A fence stays behind, so that nothing older can bring it back.
"""


#: What each template is for, and what comes after it.
_ABOUT: dict[Template, tuple[str, tuple[str, ...]]] = {
    Template.FOLDER: (
        "the files of a folder; needs no service",
        ("headwater run --once", 'headwater search articles "what happens to a delete"'),
    ),
    Template.REDACTION: (
        "the files of a folder, without personal data and keys; needs no service",
        (
            "headwater try docs/welcome.md",
            "headwater run --once",
            'headwater search articles "what happens to a delete"',
        ),
    ),
    Template.SERVICE: (
        "the files of a folder, embedded by a service; its key comes from the environment",
        (
            "export OPENAI_API_KEY=...",
            "headwater lint",
            "headwater run --once",
            'headwater search articles "what happens to a delete"',
        ),
    ),
    Template.KAFKA_TOPIC: (
        "a Kafka topic that another system writes",
        ("headwater lint", "headwater topics apply", "headwater doctor", "headwater run"),
    ),
    Template.DEBEZIUM: (
        "a table of a database, through Debezium and Kafka",
        ("headwater lint", "headwater topics apply", "headwater doctor", "headwater run"),
    ),
}
#: Those that read a folder, and so have one to begin with.
_OF_A_FOLDER = frozenset({Template.FOLDER, Template.REDACTION, Template.SERVICE})


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to begin in.")] = Path(),
    which: Annotated[
        Template, typer.Option("--template", "-t", help="What to begin with; --list says what each is for.")
    ] = Template.FOLDER,
    listed: Annotated[bool, typer.Option("--list", help="List the templates, and write nothing.")] = False,
) -> None:
    """Write headwater.yaml, the schema that editors check it with, and what it takes to begin.

    The first line of headwater.yaml names the schema, so that an editor completes and checks it as you type.
    """
    if listed:
        for each, (about, _) in _ABOUT.items():
            say(f"{each.value:<12}  {about}")
        return
    _write(folder, which)
    tell("next:")
    if folder != Path():
        ends = "-- " if str(folder).startswith("-") else ""
        say(f"cd {ends}{shlex.quote(str(folder))}")
    for step in _ABOUT[which][1]:
        say(step)


def _write(folder: Path, which: Template) -> None:
    """Write all of it, or nothing: what is there already is not touched, and what failed half-way is taken back."""
    from headwater.settings.json_schema import FILE_NAME, text

    files = {folder / DEFAULT_CONFIG: template(which), folder / FILE_NAME: text()}
    there = [str(path) for path in files if os.path.lexists(path)]
    if there:
        raise Failure(
            f"{' and '.join(there)}: already there, nothing was changed. Remove it first, or name another folder"
        )
    docs = folder / "docs"
    if which in _OF_A_FOLDER and not docs.is_dir():
        files = {docs / "welcome.md": _EXAMPLE, **files}
    try:
        with ExitStack() as undo:
            for path, content in files.items():
                _make(path.parent, undo)
                with path.open("x", encoding="utf-8") as file:
                    undo.callback(path.unlink)
                    file.write(content)
            undo.pop_all()
    except OSError as error:
        cause = f"{error.filename or folder}: {error.strerror or error}"
        raise Failure(f"{cause}. Nothing was changed: check the path and its permissions") from error
    for path in files:
        tell(f"wrote {path}")


def _make(folder: Path, undo: ExitStack) -> None:
    """Make a folder with all above it."""
    if not folder.is_dir():
        _make(folder.parent, undo)
        folder.mkdir()
        undo.callback(folder.rmdir)
