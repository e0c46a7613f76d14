"""`headwater status`: how far each stream is, and what stands in its way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from headwater.cli.completion import stream_names
from headwater.cli.failures import Mistake, coded, unknown_stream
from headwater.cli.options import Config, Json, config_of, duration, opened, perform
from headwater.cli.output import say, write_json
from headwater.cli.places import located
from headwater.cli.status_lines import lines
from headwater.embedding.spending import Spending, cost_usd, period
from headwater.errors import Misconfigured
from headwater.log.port import LogHistory, Totals, Watermarks
from headwater.model.change import Change
from headwater.model.generation import Generation
from headwater.model.receipt import DeadState
from headwater.model.registry import ANY_EPOCH
from headwater.observability.freshness import freshness

if TYPE_CHECKING:
    from headwater.engine.supervisor import StreamWorker
    from headwater.settings.accounts import AccountSettings, BudgetSettings
    from headwater.wiring import Site

#: Freshness is that of so many changes, the newest ones.
FRESHNESS_CHANGES = 10_000

#: A look at what an opening would find waits so long for what is away.
_LOOK_S = 5.0


def status(
    context: typer.Context,
    stream: Annotated[
        str | None, typer.Argument(metavar="STREAM", help="One stream; else all.", autocompletion=stream_names)
    ] = None,
    json: Json = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C; on a terminal in place.")
    ] = False,
    every: Annotated[str, typer.Option("--every", metavar="DURATION", help="With --watch: how often.")] = "2s",
    jsonl: Annotated[bool, typer.Option("--jsonl", help="With --watch: a line of JSON for each look.")] = False,
    config: Config = None,
) -> None:
    """Show how far each stream is, and what stands in its way.

    With --watch a log that is away is said, and looked for again. What is no terminal gets lines of JSON: what --json
    writes, with "time", or {"time", "away", "code"}.

    --json writes {"streams": {NAME: {"lag", "freshness", "outcomes", "embedding", "cost", "generations",
    "dead_letters", "paused", "obstacle", "worker"}}}; obstacle is what the stream would halt on if a worker opened it
    now, cost is null without a price, and its period is what all streams of the account spent.
    """
    path = config_of(context, config)
    if not watch:
        if jsonl:
            raise Mistake("--jsonl goes with --watch; --json writes one look")
        perform(_status(path, stream, json))
        return
    if json:
        raise Mistake("--watch writes a line of JSON for each look with --jsonl, not --json")
    from headwater.cli.status_watch import watched

    perform(watched(path, stream, duration("--every", every), plain=jsonl))


async def _status(config: Path, stream: str | None, json: bool) -> None:
    async with opened(config) as site:
        shapes = await View(site, stream).look()
    if json:
        write_json({"streams": shapes})
        return
    for line in seen(shapes):
        say(line)


def seen(shapes: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Return what was seen of streams as lines for people, with an empty one between two."""
    for number, (name, shape) in enumerate(shapes.items()):
        if number:
            yield ""
        yield from lines(name, shape)


class View:
    """What `status` looks at: made once, looked at any number of times. Raise Mistake for an unknown stream."""

    def __init__(self, site: Site, stream: str | None) -> None:
        if stream is not None and stream not in site.streams:
            raise unknown_stream(stream, site.streams)
        names = [stream] if stream else list(site.streams)
        self._site = site
        self._ledgers = {name: site.ledger(name) for name in _concerned(site, names)}
        self._histories = {name: site.history(name) for name in names}
        self._registry = site.registry()
        self._workers: dict[str, StreamWorker] = {}

    async def look(self) -> dict[str, dict[str, Any]]:
        """Return what is seen of each stream."""
        totals = {name: await ledger.totals() for name, ledger in self._ledgers.items()}
        return {name: await self._shape(name, totals) for name in self._histories}

    async def _obstacle(self, stream: str) -> str | None:
        """Return what the stream would halt on if it was opened now. Without an index it opens on any log."""
        site = self._site
        if not await site.generations(stream):
            return None
        if stream not in self._workers:
            self._workers[stream] = site.worker(stream, lambda _event, _fields: None)
        try:
            async with asyncio.timeout(_LOOK_S):
                error = await self._workers[stream].obstacle()
        except TimeoutError:
            return None  # what is away is no reason to halt
        if error is None:
            return None
        return coded(str(located(error, site.path) if isinstance(error, Misconfigured) else error), error.code)

    async def _shape(self, stream: str, totals: Mapping[str, Totals]) -> dict[str, Any]:
        site, ledger, history = self._site, self._ledgers[stream], self._histories[stream]
        fresh = freshness(await ledger.freshness(FRESHNESS_CHANGES))
        state = await self._registry.read(stream)
        letters = Counter(letter.state for letter in await ledger.dead(frozenset(DeadState)))
        marks = await history.watermarks()
        owner = site.journal.worker()
        return {
            "lag": {
                "records": sum(mark.high - mark.committed for mark in marks.values()),
                "oldest_age_s": await _oldest_age_s(site, stream, history, marks),
            },
            "freshness": {**msgspec.to_builtins(fresh), "budget_s": site.settings.streams[stream].freshness_s},
            "outcomes": totals[stream].outcomes,
            "embedding": msgspec.to_builtins(totals[stream].usage),
            "cost": _cost(site, stream, totals),
            "generations": [_generation(row, marks) for row in await site.generations(stream)],
            "dead_letters": {letter_state.value: letters[letter_state] for letter_state in DeadState},
            "paused": state.paused or None,
            "obstacle": await self._obstacle(stream),
            "worker": {"running": owner is not None, "pid": owner.pid if owner else None},
        }


def _account(site: Site, stream: str) -> tuple[str, AccountSettings] | None:
    name = site.settings.streams[stream].recipe.embed.account
    return (name, site.settings.accounts[name]) if name else None


def _concerned(site: Site, names: list[str]) -> list[str]:
    """Return the streams whose sums are needed: these, and those that share a budget with one of them."""
    found = [account for stream in names if (account := _account(site, stream))]
    shared = {name for name, account in found if account.budget}
    return [it for it in site.streams if it in names or site.settings.streams[it].recipe.embed.account in shared]


def _cost(site: Site, stream: str, totals: Mapping[str, Totals]) -> dict[str, Any] | None:
    """Return what the stream's tokens cost at the price of today, and what its account spent of its budget."""
    name, account = _account(site, stream) or ("", None)
    if account is None or account.prices is None:
        return None
    price, batch_price = account.prices
    usage = totals[stream].usage
    lanes = {
        "live_usd": cost_usd(usage.tokens - usage.replay_tokens - usage.batch_tokens, price),
        "replay_usd": cost_usd(usage.replay_tokens, price),
        "batch_usd": cost_usd(usage.batch_tokens, batch_price),
    }
    same = {it: found for it, found in totals.items() if site.settings.streams[it].recipe.embed.account == name}
    return {
        "account": name,
        "price_usd_per_million": price,
        "batch_price_usd_per_million": batch_price,
        "usd": sum(lanes.values()),
        **lanes,
        "period": _period(account.prices, account.budget, same, site.clock.now_us()) if account.budget else None,
    }


def _period(
    prices: tuple[float, float], budget: BudgetSettings, totals: Mapping[str, Totals], now_us: int
) -> dict[str, Any]:
    spending = Spending(*prices, budget.soft, budget.hard, budget.per)
    for stream, found in totals.items():
        spending.learn(stream, found.daily, 0)
    start_us, _ = period(budget.per, now_us)
    return {
        "per": budget.per,
        "from": datetime.fromtimestamp(start_us / 1e6, UTC).date().isoformat(),
        "usd": spending.spent_usd(now_us),
        "soft_usd": budget.soft,
        "hard_usd": budget.hard,
    }


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
