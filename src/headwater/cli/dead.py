"""`headwater dead`: the changes that could not be applied by their own fault."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.failures import Exit, Mistake
from headwater.cli.options import Config, Json, Stream, config_of, opened, perform
from headwater.cli.output import say, tell, were, write_json
from headwater.journal import GENERATION
from headwater.log.codecs.json import render_time
from headwater.model.receipt import DeadLetter, DeadState
from headwater.observability.findings import counted
from headwater.wiring import Site

WAITING = frozenset({DeadState.OPEN, DeadState.RETRYING})

dead = typer.Typer(
    name="dead",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, retry or discard changes that could not be applied.",
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Documents whose dead letters are meant.")]
All = Annotated[bool, typer.Option("--all", help="All open ones of the stream.")]


@dead.command("list")
def show(
    context: typer.Context,
    stream: Stream,
    every: Annotated[bool, typer.Option("--all", help="Settled and discarded ones too.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """List the dead letters of a stream, the oldest first."""
    perform(_list(config_of(context, config), stream, frozenset(DeadState) if every else WAITING, json))


@dead.command()
def retry(context: typer.Context, stream: Stream, ids: Ids = None, every: All = False, config: Config = None) -> None:
    """Let the worker try dead letters again.

    They go straight through the fence, never back into the log.
    """
    perform(_each(config_of(context, config), stream, _wanted(ids, every), _retry))


@dead.command()
def discard(context: typer.Context, stream: Stream, ids: Ids = None, every: All = False, config: Config = None) -> None:
    """Give dead letters up for good."""
    perform(_each(config_of(context, config), stream, _wanted(ids, every), _discard))


def _wanted(ids: Sequence[str] | None, every: bool) -> frozenset[str] | None:
    """Return the documents that are meant, None for all."""
    if bool(ids) == every:
        raise Mistake("name the documents, or all with --all; `headwater dead list STREAM` shows them")
    return None if every else frozenset(ids or ())


async def _list(config: Path, stream: str, states: frozenset[DeadState], json: bool) -> None:
    async with opened(config, stream) as site:
        letters = await site.ledger(stream).dead(states)
    if json:
        write_json({"stream": stream, "generation": GENERATION, "dead": list(map(_shape, letters))})
        return
    for letter in letters:
        attempts = counted(letter.attempts, "attempt")
        say(f"{letter.document}  {letter.version}  {letter.state.value}, {attempts}: {letter.reason}")
    if not letters:
        tell(f"{stream} has no dead letters")


async def _retry(site: Site, stream: str, letters: Sequence[DeadLetter]) -> list[str]:
    ledger = site.ledger(stream)
    moved = [
        letter.document
        for letter in letters
        if await ledger.move(letter.document, letter.version, DeadState.OPEN, DeadState.RETRYING)
    ]
    if moved:
        tell(f"{counted(len(moved), 'dead letter')} {'waits' if len(moved) == 1 else 'wait'} for the worker")
        if site.journal.worker() is None:
            tell("no worker is running: `headwater run` takes them up")
    return moved


async def _discard(site: Site, stream: str, letters: Sequence[DeadLetter]) -> list[str]:
    from headwater.engine.discard import discard as give_up

    ports = site.ports(stream)
    reader = ports.open_reader()
    try:
        given_up = [
            letter.document
            for letter in letters
            if await give_up(letter, ports.ledger, ports.writer, reader, site.clock)
        ]
    finally:
        await reader.close()
    if given_up:
        tell(f"{counted(len(given_up), 'dead letter')} {were(len(given_up))} discarded")
    return given_up


async def _each(
    config: Path,
    stream: str,
    wanted: frozenset[str] | None,
    act: Callable[[Site, str, Sequence[DeadLetter]], Awaitable[list[str]]],
) -> int:
    async with opened(config, stream) as site:
        # Discarded ones too: a discard that was cut short is gone on with.
        letters = await site.ledger(stream).dead(frozenset({DeadState.OPEN, DeadState.DISCARDED}))
        done = await act(site, stream, [it for it in letters if wanted is None or it.document in wanted])
    left = sorted((wanted or frozenset()).difference(done))
    for document in left:
        tell(f"{document}: has no open dead letter in {stream}")
    if not done and not left:
        tell(f"{stream} has no open dead letters")
    return Exit.FAILED if left else Exit.OK


def _shape(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.document,
        "version": str(letter.version),
        "place": {"partition": letter.place.partition, "offset": letter.place.offset},
        "reason": letter.reason,
        "state": letter.state.value,
        "attempts": letter.attempts,
        "opened": render_time(letter.opened_us),
    }
