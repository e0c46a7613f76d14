"""`headwater status`: how far each stream is, and what stands in its way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from headwater.cli.failures import unknown_stream
from headwater.cli.options import Config, Json, config_of, opened, perform
from headwater.cli.output import counted, rough, say, write_json
from headwater.cli.pause import with_way_on
from headwater.cli.places import located
from headwater.embedding.spending import Spending, cost_usd, period
from headwater.errors import Misconfigured
from headwater.log.port import Ledger, LogHistory, Totals, Watermarks
from headwater.model.change import Change
from headwater.model.generation import Generation
from headwater.model.receipt import DeadState
from headwater.model.registry import ANY_EPOCH
from headwater.observability.freshness import freshness

if TYPE_CHECKING:
    from headwater.settings.accounts import AccountSettings, BudgetSettings
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

    --json writes {"streams": {NAME: {"lag", "freshness", "outcomes", "embedding", "cost", "generations",
    "dead_letters", "paused", "obstacle", "worker"}}}; obstacle is what the stream would halt on if a worker opened it
    now, cost is null without a price, and its period is what all streams of the account spent.
    """
    perform(_status(config_of(context, config), stream, json))


async def _status(config: Path, stream: str | None, json: bool) -> None:
    async with opened(config) as site:
        if stream is not None and stream not in site.streams:
            raise unknown_stream(stream, site.streams)
        names = [stream] if stream else list(site.streams)
        ledgers = {name: site.ledger(name) for name in _concerned(site, names)}
        totals = {name: await ledger.totals() for name, ledger in ledgers.items()}
        shapes = {name: await _shape(site, name, ledgers[name], totals) for name in names}
    if json:
        write_json({"streams": shapes})
        return
    for number, (name, shape) in enumerate(shapes.items()):
        if number:
            say()
        _show(name, shape)


async def _shape(site: Site, stream: str, ledger: Ledger, totals: Mapping[str, Totals]) -> dict[str, Any]:
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
        "outcomes": totals[stream].outcomes,
        "embedding": msgspec.to_builtins(totals[stream].usage),
        "cost": _cost(site, stream, totals),
        "generations": [_generation(row, marks) for row in await site.generations(stream)],
        "dead_letters": {letter_state.value: letters[letter_state] for letter_state in DeadState},
        "paused": state.paused or None,
        "obstacle": await _obstacle(site, stream),
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
    told = (f"{count} {what.replace('_', ' ')}" for what, count in shape["embedding"].items())
    _line("embedding", ", ".join(told))
    if shape["cost"]:
        _line("cost", _priced(shape["cost"]))
    for row in shape["generations"]:
        text = f"generation {row['generation']} {row['state']}, {row['progress']:.0%}, model {row['model']}"
        _line("index", text)
    if not shape["generations"]:
        _line("index", "none yet: `headwater run` makes it")
    open_count = shape["dead_letters"]["open"] + shape["dead_letters"]["retrying"]
    _line("dead letters", f"{open_count}" + (f" (`headwater dead list {name}` shows them)" if open_count else ""))


def _priced(cost: dict[str, Any]) -> str:
    lanes = ", ".join(f"{lane} {_usd(cost[f'{lane}_usd'])}" for lane in ("live", "replay", "batch"))
    prices = f"{cost['price_usd_per_million']:.10g} USD a million tokens"
    if cost["batch_usd"]:
        prices += f", {cost['batch_price_usd_per_million']:.10g} USD in batches"
    text = f"{_usd(cost['usd'])} ({lanes}), at {prices}"
    if (spent := cost["period"]) is None:
        return text
    limits = [f"{level} limit {_usd(spent[f'{level}_usd'])}" for level in ("soft", "hard") if spent[f"{level}_usd"]]
    text += f"; account {cost['account']} since {spent['from']}: {', '.join([_usd(spent['usd']), *limits])}"
    reached = spent["hard_usd"] is not None and spent["usd"] >= spent["hard_usd"]
    return text + (f"; nothing more is embedded this {spent['per']}" if reached else "")


def _usd(amount: float) -> str:
    return f"{amount:.2f} USD" if amount >= 1 else f"{amount:.4f} USD"


def _line(what: str, text: str) -> None:
    say(f"  {what:<14}{text}")
