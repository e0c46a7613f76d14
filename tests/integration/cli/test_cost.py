"""What tokens cost, as `status` says it: by lane, and of the account's budget, which its streams share."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headwater.clock import SystemClock, SystemIds
from headwater.log.sqlite import SqliteLog
from headwater.model.receipt import Settlement, Usage
from tests.integration.cli.process import Cli

STREAM = """\
  {name}:
    recipe:
      embed: {{model: openai/text-embedding-3-small, url: 'http://127.0.0.1:9/v1'{account}}}
"""
MILLION = 1_000_000


def configured(cli: Cli, account: str = "") -> None:
    streams = {"one": ", account: work", "two": ", account: work", "free": ""} if account else {"one": ""}
    text = "log: sqlite:///headwater.db\nstreams:\n"
    text += "".join(STREAM.format(name=name, account=named) for name, named in streams.items())
    cli.write("headwater.yaml", text + (f"accounts:\n  work: {account}\n" if account else ""))


def settled(folder: Path, **usage: Usage) -> None:
    """Let workers have settled what these streams asked of the model."""

    async def settle() -> None:
        log = SqliteLog(folder / "headwater.db", SystemClock(), SystemIds())
        for stream, used in usage.items():
            reader = log.reader(stream, "g", 1, 8)
            await reader.settle(Settlement({}, (), used))
            await reader.close()

    asyncio.run(settle())


def status(cli: Cli, *arguments: str) -> dict[str, Any]:
    streams: dict[str, Any] = cli.json("status", "--json", *arguments)["streams"]
    return streams


def line(cli: Cli, stream: str, name: str) -> list[str]:
    return [it.strip() for it in cli("status", stream).stdout.splitlines() if it.startswith(f"  {name} ")]


def test_without_a_price_tokens_cost_nothing_that_is_known(cli: Cli) -> None:
    configured(cli)
    settled(cli.folder, one=Usage(1, 2, 3, 4, 1, 1))
    embedding = {"calls": 1, "texts": 2, "tokens": 3, "reused": 4, "replay_tokens": 1, "batch_tokens": 1}
    shape = status(cli)["one"]
    assert (shape["embedding"], shape["cost"]) == (embedding, None)
    assert line(cli, "one", "cost") == []
    configured(cli, "{requests: 5}")
    assert status(cli, "one")["one"]["cost"] is None
    said = "embedding     1 calls, 2 texts, 3 tokens, 4 reused, 1 replay tokens, 1 batch tokens"
    assert line(cli, "one", "embedding") == [said]


def test_cost_is_told_by_lane_at_the_price_of_today(cli: Cli) -> None:
    configured(cli, "{price: 0.5}")
    settled(cli.folder, one=Usage(tokens=3 * MILLION, replay_tokens=MILLION), free=Usage(tokens=9))
    shapes = status(cli)
    expected = {
        "account": "work",
        "price_usd_per_million": 0.5,
        "batch_price_usd_per_million": 0.25,
        "usd": 1.5,
        "live_usd": 1.0,
        "replay_usd": 0.5,
        "batch_usd": 0.0,
        "period": None,
    }
    assert shapes["one"]["cost"] == expected
    assert (shapes["two"]["cost"]["usd"], shapes["free"]["cost"]) == (0.0, None)
    said = "cost          1.50 USD (live 1.00 USD, replay 0.5000 USD, batch 0.0000 USD), at 0.5 USD a million tokens"
    assert line(cli, "one", "cost") == [said]
    configured(cli, "{price: 5}")
    assert status(cli, "one")["one"]["cost"]["usd"] == 15.0


def test_the_batch_interface_has_a_price_of_its_own(cli: Cli) -> None:
    configured(cli, "{price: 2, budget: {hard: 100}}")
    used = Usage(tokens=9 * MILLION, replay_tokens=MILLION, batch_tokens=5 * MILLION)
    settled(cli.folder, one=used)
    cost = status(cli)["one"]["cost"]
    assert [cost[f"{lane}usd"] for lane in ("live_", "replay_", "batch_", "")] == [6.0, 2.0, 5.0, 13.0]
    assert (cost["batch_price_usd_per_million"], cost["period"]["usd"]) == (1.0, 13.0)
    configured(cli, "{price: 2, batch_price: 0.2}")
    assert status(cli)["one"]["cost"]["usd"] == 9.0
    said = "9.00 USD (live 6.00 USD, replay 2.00 USD, batch 1.00 USD), at 2 USD a million tokens, 0.2 USD in batches"
    assert line(cli, "one", "cost") == [f"cost          {said}"]


def test_the_budget_is_what_all_streams_of_the_account_spend(cli: Cli) -> None:
    configured(cli, "{price: 1, budget: {soft: 3, hard: 10, per: month}}")
    settled(cli.folder, one=Usage(tokens=2 * MILLION), two=Usage(tokens=3 * MILLION), free=Usage(tokens=9 * MILLION))
    month = datetime.fromtimestamp(SystemClock().now_us() / 1e6, UTC).strftime("%Y-%m-01")
    for shape in (status(cli)["one"], status(cli, "one")["one"]):
        assert shape["cost"]["usd"] == 2.0
        period = {"per": "month", "from": month, "usd": 5.0, "soft_usd": 3.0, "hard_usd": 10.0}
        assert shape["cost"]["period"] == period
    ending = f"account work since {month}: 5.00 USD, soft limit 3.00 USD, hard limit 10.00 USD"
    (text,) = line(cli, "two", "cost")
    assert text.endswith(ending)
    settled(cli.folder, two=Usage(tokens=5 * MILLION))
    (text,) = line(cli, "one", "cost")
    assert text.endswith("10.00 USD, soft limit 3.00 USD, hard limit 10.00 USD; nothing more is embedded this month")
