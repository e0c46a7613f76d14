"""What `headwater status` found, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headwater.cli.output import rough
from headwater.cli.pause import with_way_on
from headwater.observability.findings import counted


def lines(name: str, shape: dict[str, Any]) -> Iterator[str]:
    """Return what is seen of one stream, as people read it."""
    lag, fresh, worker = shape["lag"], shape["freshness"], shape["worker"]
    age = f", the oldest {rough(lag['oldest_age_s'])} old" if lag["oldest_age_s"] is not None else ""
    yield name
    yield _line("worker", f"running (process {worker['pid']})" if worker["running"] else "not running")
    if shape["paused"]:
        yield _line("paused", with_way_on(shape["paused"], name))
    if shape["obstacle"]:
        yield _line("cannot go on", shape["obstacle"])
    yield _line("behind", f"{counted(lag['records'], 'change')}{age}")
    if fresh["count"]:
        ranks = ", ".join(f"{rank} {fresh[f'{rank}_s']:.2f} s" for rank in ("p50", "p95", "p99"))
        yield _line(
            "freshness", f"{ranks} over {counted(fresh['count'], 'change')}; the budget is {fresh['budget_s']:g} s"
        )
    yield _line(
        "outcomes", ", ".join(f"{outcome} {count}" for outcome, count in shape["outcomes"].items()) or "none yet"
    )
    told = (f"{count} {what.replace('_', ' ')}" for what, count in shape["embedding"].items())
    yield _line("embedding", ", ".join(told))
    if shape["cost"]:
        yield _line("cost", _priced(shape["cost"]))
    for row in shape["generations"]:
        text = f"generation {row['generation']} {row['state']}, {row['progress']:.0%}, model {row['model']}"
        yield _line("index", text)
    if not shape["generations"]:
        yield _line("index", "none yet: `headwater run` makes it")
    open_count = shape["dead_letters"]["open"] + shape["dead_letters"]["retrying"]
    yield _line("dead letters", f"{open_count}" + (f" (`headwater dead list {name}` shows them)" if open_count else ""))


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


def _line(what: str, text: str) -> str:
    return f"  {what:<14}{text}"
