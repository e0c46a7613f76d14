"""`headwater prefetch`: buys a stream's vectors through the service's batch interface, before the worker needs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from headwater.cli.failures import Exit, Mistake
from headwater.cli.options import Config, Json, Stream, config_of, duration, opened, perform
from headwater.cli.output import say, tell, write_json
from headwater.observability.findings import counted

if TYPE_CHECKING:
    from headwater.embedding.batches import BatchJob
    from headwater.engine.prefetch import Prefetcher, Turn
    from headwater.patience import Outage, Patience
    from headwater.wiring import Site

#: The service is asked no more often.
LEAST_S = 0.1


def prefetch(
    context: typer.Context,
    stream: Stream,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", "-n", help="Look through the source, say what is needed and what it costs, end."),
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Fetch what is ready, hand in what is needed, and end without waiting.")
    ] = False,
    every: Annotated[
        str, typer.Option("--every", metavar="DURATION", help="How often the service is asked how far it is.")
    ] = "30s",
    json: Json = False,
    config: Config = None,
) -> None:
    """Buy a stream's vectors ahead, through the batch interface of its embedding service.

    That takes up to a day and costs less, half as a rule. The vectors are held in the cache until `headwater run` needs
    them. It can be ended at any time, and begun again: the service keeps the jobs, and nothing is bought twice.

    --json writes {"documents", "texts", "under_way", "refused", "left", "held", "tokens", "ahead", "usd", "ahead_usd"}.
    Exit 1 when texts are left that no budget is there for. Where no worker runs, it looks through the source first and
    appends what changed, as `headwater run` would.
    """
    every_s = duration("--every", every)
    if every_s < LEAST_S:
        raise Mistake(f"--every takes {LEAST_S:g}s or more, not {every!r}: the service is asked each time")
    perform(_prefetch(config_of(context, config), stream, dry_run, once, every_s, json))


async def _prefetch(config: Path, stream: str, dry_run: bool, once: bool, every_s: float, json: bool) -> int:
    async with opened(config, stream) as site:
        with site.prefetching(stream):
            patience = site.patience(_told)
            await _synchronise(site, stream, patience)
            prefetcher = await patience.call(lambda: site.prefetcher(stream))
            if dry_run:
                found = await patience.call(prefetcher.look)
            else:
                found = await _work(site, prefetcher, patience, every_s, once=once)
            working = prefetcher.working
        shape = {**msgspec.to_builtins(found), **site.batch_costs(stream, found.tokens, found.ahead)}
    if json:
        write_json(shape)
    else:
        _show(stream, shape, dry_run=dry_run)
    return Exit.FAILED if found.left and not (dry_run or working) else Exit.OK


async def _synchronise(site: Site, stream: str, patience: Patience) -> None:
    """Have the log hold what the source holds. A worker that runs sees to it itself."""
    from headwater.engine.feeding import Feed
    from headwater.observability.signals import unheard

    source = site.source(stream, unheard)
    if source is None or site.journal.worker() is not None:
        return
    await site.journal.prepare()
    with site.journal.lock():
        await Feed(source, patience, site.clock, unheard, rescan_s=0.0).synchronise()


async def _work(site: Site, prefetcher: Prefetcher, patience: Patience, every_s: float, *, once: bool) -> Turn:
    """Take turns until there is nothing to wait for. Return what was found last, and held by all together."""
    held = tokens = 0
    said = ""
    while True:
        found = await patience.call(prefetcher.turn)
        held, tokens = held + found.held, tokens + found.tokens
        if not found.held and (once or not prefetcher.working):
            return msgspec.structs.replace(found, held=held, tokens=tokens)
        while prefetcher.working and not found.held:
            await site.clock.sleep(every_s)
            jobs = await patience.call(prefetcher.jobs)
            if (now := _progress(jobs, held)) != said:
                said = now
                tell(said)
            if any(job.state != "working" for job in jobs) or len(jobs) < prefetcher.working:
                break


def _progress(jobs: Sequence[BatchJob], held: int) -> str:
    done, calls = sum(job.done for job in jobs), sum(job.calls for job in jobs)
    return f"{counted(len(jobs), 'job')} under way, {done} of {counted(calls, 'text')} done; {held} held"


def _told(outage: Outage | None, dependency: str) -> None:
    tell(f"{dependency} is back" if outage is None else f"{dependency}: {outage.cause}; waiting until it is back")


def _show(stream: str, shape: dict[str, Any], *, dry_run: bool) -> None:
    if not dry_run:
        cost = f"{counted(shape['tokens'], 'token')}{_usd(shape['usd'])}"
        say(f"{counted(shape['held'], 'vector')} held for {stream}: {cost}")
    if shape["texts"]:
        most = f"at most {counted(shape['ahead'], 'token')}{_usd(shape['ahead_usd'])}"
        say(f"{counted(shape['documents'], 'document')} need {counted(shape['texts'], 'text')} more: {most}")
        say(
            f"  {shape['under_way']} under way, {shape['left']} in no job, {shape['refused']} refused and left to `run`"
        )


def _usd(usd: float | None) -> str:
    return "" if usd is None else f", {usd:.4f} USD"
