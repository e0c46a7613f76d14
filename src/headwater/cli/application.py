"""The application: its verbs, and what stands before them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from headwater import __version__
from headwater.cli.completion import DEFAULT_CONFIG
from headwater.cli.config import config_verbs
from headwater.cli.dead import dead
from headwater.cli.demo import demo
from headwater.cli.doctor import doctor
from headwater.cli.explain import explain
from headwater.cli.export import export
from headwater.cli.fake_provider import fake_provider
from headwater.cli.init import init
from headwater.cli.lint import lint
from headwater.cli.pause import pause
from headwater.cli.prefetch import prefetch
from headwater.cli.publish import publish
from headwater.cli.resume import resume
from headwater.cli.run import run
from headwater.cli.schema import schema
from headwater.cli.search import search
from headwater.cli.status import status
from headwater.cli.topics import topics
from headwater.cli.trace import trace
from headwater.cli.try_ import try_
from headwater.cli.verify import verify

app = typer.Typer(
    name="headwater",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"headwater {__version__}")
        raise typer.Exit


@app.callback()
def headwater(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="HEADWATER_CONFIG", help="The configuration file.")
    ] = DEFAULT_CONFIG,
    version: Annotated[  # noqa: ARG001 (typer calls `_version` for it)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Keep embeddings true to their source.

    Start with `headwater init`, then `headwater run --once` and `headwater search articles "a question"`.
    """
    context.obj = config


_BEFORE: tuple[Callable[..., None], ...] = (init, lint, run, publish, search, status, trace, verify, export, prefetch)
_BEHIND: tuple[Callable[..., None], ...] = (pause, resume, doctor, explain, schema, fake_provider, demo)

for verb in _BEFORE:
    app.command()(verb)
app.command("try")(try_)  # the bare word is Python's
app.add_typer(config_verbs)
app.add_typer(dead)
app.add_typer(topics)
for verb in _BEHIND:
    app.command()(verb)
