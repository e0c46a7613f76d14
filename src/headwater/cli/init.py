"""`headwater init`: a configuration to begin with, its schema, and a document to search for."""

from __future__ import annotations

import shlex
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
        say(f"cd {shlex.quote(str(folder))}")
    for step in _ABOUT[which][1]:
        say(step)


def _write(folder: Path, which: Template) -> None:
    from headwater.settings.json_schema import FILE_NAME, text

    config, docs = folder / DEFAULT_CONFIG, folder / "docs"
    if config.exists():
        raise Failure(f"{config} exists already: nothing was changed. Remove it first, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if which in _OF_A_FOLDER and not docs.exists():
            docs.mkdir()
            (docs / "welcome.md").write_text(_EXAMPLE, encoding="utf-8")
            tell(f"wrote {docs / 'welcome.md'}")
        with config.open("x", encoding="utf-8") as file:
            file.write(template(which))
        tell(f"wrote {config}")
        (folder / FILE_NAME).write_text(text(), encoding="utf-8")
        tell(f"wrote {folder / FILE_NAME}")
    except OSError as error:
        raise Failure(f"{folder}: {error.strerror or error}. Check the path and its permissions") from error
