"""What was bought ahead, through the command line: it is found by `run`, let go of, and priced in `status`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from headwater.embedding.cache import Held, Space, key_of
from headwater.embedding.cache_sqlite import SqliteCache
from headwater.rehearsal.record import digest_of
from tests.integration.cli.process import Cli
from tests.provider.provider import Provider

CONFIG = """\
accounts: {{mine: {{price: 1000}}}}
cache: {{url: sqlite:///cache.db, tenant: acme}}
streams:
  notes:
    recipe:
      embed: {{model: openai/fake-embedding, url: '{url}/v1', key: k, account: mine}}
"""


def held(path: Path, tenant: str, work: Callable[[SqliteCache, Space], Any]) -> Any:
    """Work with the cache that a run has made, as another process does."""
    with closing(sqlite3.connect(path)) as connection:
        ((model, size),) = connection.execute(
            "SELECT model, length(sealed) FROM cache_space s JOIN cache_entry e ON e.space = s.key LIMIT 1"
        ).fetchall()

    async def scenario() -> Any:
        cache = SqliteCache(path, 1 << 30, lambda error: None)
        try:
            return await work(cache, Space(tenant, model, (size - 16) // 4))
        finally:
            await cache.close()

    return asyncio.run(scenario())


def test_it_is_not_embedded_again_and_paid_for_when_it_is_settled(
    tmp_path: Path, provider: Callable[..., Provider]
) -> None:
    service, cli, path = provider(), Cli(tmp_path), tmp_path / "cache.db"
    cli.write("headwater.yaml", CONFIG.format(url=service.url))

    def run(**texts: str | None) -> None:
        lines = [{"id": id_, "text": text} if text else {"id": id_, "op": "delete"} for id_, text in texts.items()]
        cli("publish", "notes", stdin="".join(json.dumps(line) + "\n" for line in lines))
        cli("run", "--once")

    run(first="a note as any other", gone="a note that is deleted")
    before = cli.json("status", "--json")["streams"]["notes"]

    def hold(cache: SqliteCache, space: Space) -> Any:
        vector = np.eye(1, space.dimensions, dtype="<f4").tobytes()
        texts = {"new": "bought ahead", "gone": "what it was to become", "waits": "not published"}
        return cache.hold(space, "notes", {id_: [Held(key_of(text), vector, 40)] for id_, text in texts.items()})

    held(path, "acme", hold)
    run(new="bought ahead", gone=None)
    after = cli.json("status", "--json")["streams"]["notes"]
    assert service.record.embedded()[digest_of("bought ahead")] == 0
    assert after["embedding"]["batch_tokens"] == 80
    assert after["embedding"]["tokens"] - before["embedding"]["tokens"] == 80
    assert round(after["cost"]["batch_usd"], 9) == 0.04
    assert round(after["cost"]["live_usd"] - before["cost"]["live_usd"], 9) == 0
    (receipt,) = cli.json("trace", "notes", "new", "--json")["receipts"]
    assert (receipt["counts"]["tokens"], receipt["counts"]["reused"]) == (40, 1)
    ids = ["first", "new", "gone", "waits"]
    assert held(path, "acme", lambda cache, space: cache.release(space.tenant, "notes", ids)) == {"waits": 40}
