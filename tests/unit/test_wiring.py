"""What the wiring itself decides."""

from __future__ import annotations

import asyncio
from pathlib import Path

from headwater.observability.signals import Event
from headwater.wiring import open_site

CONFIG = """
log: sqlite:///headwater.db
accounts: {work: {price: 1, batch_price: 0.25, budget: {hard: 10}}}
streams:
  a: {recipe: {embed: {model: openai/m, url: 'http://127.0.0.1:9/v1', key: k, account: work}}}
"""


def test_what_was_bought_ahead_is_none_of_what_a_worker_paid_itself(tmp_path: Path) -> None:
    """Or as many of the tokens that it did pay would not be counted until somebody looks into the ledger."""
    config = tmp_path / "headwater.yaml"
    config.write_text(CONFIG)

    async def scenario() -> None:
        site = open_site(config, {})
        worker = site.worker("a", lambda event, fields: None)
        spending = site._accounts.spending("a")
        assert spending is not None
        assert (spending.price, spending.batch_price) == (1, 0.25)
        worker._machine.emit(Event.CHANGES_SETTLED, {"tokens": 9, "batch_tokens": 5})
        assert spending.look("a") == 4
        await site.close()

    asyncio.run(scenario())
