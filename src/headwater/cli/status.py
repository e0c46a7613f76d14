"""`headwater status`: how far each stream is, and what stands in its way."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from headwater.cli.failures import unknown_stream
from headwater.cli.options import Config, Json, config_of, opened, perform
from headwater.cli.output import counted, rough, say, write_json
from headwater.cli.pause import with_way_on
from headwater.cli.places import located
from headwater.errors import Misconfigured
from headwater.log.port import LogHistory, Watermarks
from headwater.model.change import Change
from headwater.model.generation import Generation
from headwater.model.receipt import DeadState
from headwater.model.registry import ANY_EPOCH
from headwater.observability.freshness import freshness

if TYPE_CHECKING:
    from headwater.wiring import Site

#: Freshness is that of so many changes, the newest ones.
FRESHNESS_CHANGES = 10_000

#: A look at what an opening would find waits so long for what is away.
_LOOK_S = 5.0


def status(
    context: typer.Context,
    stream: Annotated[str | None, typer.Argument(metavar="STREAM", help="One stream; else all.")] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show how far each stream is, and what stands in its way.

    --json writes {"streams": {NAME: {"lag", "freshness", "outcomes", "embedding", "generations", "dead_letters",
    "paused", "obstacle", "worker"}}}; obstacle is what the stream would halt on if a worker opened it now.
    """
    perform(_status(config_of(context, config), stream, json))


async def _status(config: Path, stream: str | None, json: bool) -> None:
    async with opened(config) as site:
        if stream is not None and stream not in site.streams:
            raise unknown_stream(stream, site.streams)
        shapes = {name: await _shape(site, name) for name in ([stream] if stream else site.streams)}
    if json:
        write_json({"streams": shapes})
        return
    for number, (name, shape) in enumerate(shapes.items()):
        if number:
            say()
        _show(name, shape)


async def _shape(site: Site, stream: str) -> dict[str, Any]:
    ledger = site.ledger(stream)
    totals = await ledger.totals()
    fresh = freshness(await ledger.freshness(FRESHNESS_CHANGES))
    state = await site.registry().read(stream)
    letters = Counter(letter.state for letter in await ledger.dead(frozenset(DeadState)))
    history = site.history(stream)
    marks = await history.watermarks()
    owner = site.journal.worker()
    return {
        "lag": {
            "records": sum(mark.high - mark.committed for mark in marks.values()),
            "oldest_age_s": await _oldest_age_s(site, stream, history, marks),
        },
        "freshness": {**msgspec.to_builtins(fresh), "budget_s": site.settings.streams[stream].freshness_s},
        "outcomes": totals.outcomes,
        "embedding": msgspec.to_builtins(totals.usage),
        "generations": [_generation(row, marks) for row in await site.generations(stream)],
        "dead_letters": {letter_state.value: letters[letter_state] for letter_state in DeadState},
        "paused": state.paused or None,
        "obstacle": await _obstacle(site, stream),
        "worker": {"running": owner is not None, "pid": owner.pid if owner else None},
    }


async def _obstacle(site: Site, stream: str) -> str | None:
    """Return what the stream would halt on if it was opened now. Without an index it opens on any log."""
    if not await site.generations(stream):
        return None
    worker = site.worker(stream, lambda _event, _fields: None)
    try:
        async with asyncio.timeout(_LOOK_S):
            error = await worker.obstacle()
    except TimeoutError:
        return None  # what is away is no reason to halt
    return str(located(error, site.path) if isinstance(error, Misconfigured) else error) if error else None


async def _oldest_age_s(site: Site, stream: str, history: LogHistory, marks: dict[int, Watermarks]) -> float | None:
    """Return the age of the oldest change that is not settled; None when all are. In each partition it is the first."""
    decode = site.journal.decode(stream)
    times_us = []
    for partition, mark in marks.items():
        async for record in history.read(partition, mark.committed, mark.high):
            change = decode(record, ANY_EPOCH)
            times_us.append(change.time_us if isinstance(change, Change) else record.time_us)
            break
    return max(0, site.clock.now_us() - min(times_us)) / 1e6 if times_us else None


def _generation(row: Generation, marks: dict[int, Watermarks]) -> dict[str, Any]:
    settled = {position.partition: position.offset for position in row.positions}
    total = sum(mark.high - mark.low for mark in marks.values())
    done = sum(max(0, settled.get(partition, mark.low) - mark.low) for partition, mark in marks.items())
    return {
        "generation": row.number,
        "state": row.state.value,
        "progress": min(1.0, done / total) if total else 1.0,
        "recipe": row.recipe,
        "model": row.model,
        "dimensions": row.dimensions,
    }


def _show(name: str, shape: dict[str, Any]) -> None:
    lag, fresh, worker = shape["lag"], shape["freshness"], shape["worker"]
    age = f", the oldest {rough(lag['oldest_age_s'])} old" if lag["oldest_age_s"] is not None else ""
    say(name)
    _line("worker", f"running (process {worker['pid']})" if worker["running"] else "not running")
    if shape["paused"]:
        _line("paused", with_way_on(shape["paused"], name))
    if shape["obstacle"]:
        _line("cannot go on", shape["obstacle"])
    _line("behind", f"{counted(lag['records'], 'change')}{age}")
    if fresh["count"]:
        ranks = ", ".join(f"{rank} {fresh[f'{rank}_s']:.2f} s" for rank in ("p50", "p95", "p99"))
        _line("freshness", f"{ranks} over {counted(fresh['count'], 'change')}; the budget is {fresh['budget_s']:g} s")
    _line("outcomes", ", ".join(f"{outcome} {count}" for outcome, count in shape["outcomes"].items()) or "none yet")
    _line("embedding", ", ".join(f"{count} {what}" for what, count in shape["embedding"].items()))
    for row in shape["generations"]:
        text = f"generation {row['generation']} {row['state']}, {row['progress']:.0%}, model {row['model']}"
        _line("index", text)
    if not shape["generations"]:
        _line("index", "none yet: `headwater run` makes it")
    open_count = shape["dead_letters"]["open"] + shape["dead_letters"]["retrying"]
    _line("dead letters", f"{open_count}" + (f" (`headwater dead list {name}` shows them)" if open_count else ""))


def _line(what: str, text: str) -> None:
    say(f"  {what:<14}{text}")
