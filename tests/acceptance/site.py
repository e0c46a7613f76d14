"""A configuration in a folder, and the whole engine on it in this process, with the embedded log and index."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from headwater.engine.supervisor import End
from headwater.model.manifest import Manifest
from headwater.model.receipt import Receipt
from headwater.sources.jsonl import publish
from headwater.wiring import Site, open_site

T = TypeVar("T")

STREAM = "articles"

_CONFIGURATION = """\
log: sqlite:///headwater.db
streams:
  articles:
    {source}
    recipe:
      chunk: {{size: {size}}}
      embed: {{model: hash}}
    index: sqlite:///headwater.db
"""


def configure(folder: Path, *, source: str = "", size: int = 800) -> Path:
    """Write a configuration without a source, or with that folder as its source."""
    path = folder / "headwater.yaml"
    line = f"source: {{folder: {json.dumps(source)}}}" if source else "freshness: 60s"
    path.write_text(_CONFIGURATION.format(source=line, size=size))
    return path


class Engine:
    """Publishes into one stream and runs its worker, in this process."""

    def __init__(self, folder: Path) -> None:
        self._config = configure(folder)

    def follow(self, changes: Iterable[dict[str, Any]]) -> None:
        """Publish changes and run a worker until they are settled."""
        lines = io.BytesIO(b"".join(json.dumps(change).encode() + b"\n" for change in changes))

        async def work(site: Site) -> None:
            _, rejected = await publish(lines, site.writer(STREAM), site.clock, _complain)
            assert not rejected
            with site.journal.lock():
                ended = await site.worker(STREAM, lambda _event, _fields: None).run(once=True)
            assert ended.end is End.DONE, ended

        self._run(work)

    def last(self, id_: str) -> tuple[Receipt, Manifest]:
        """A document's newest receipt, and its manifest."""

        async def look(site: Site) -> tuple[Receipt, Manifest]:
            receipts = await site.ledger(STREAM).receipts(id_)
            manifests = await site.ports(STREAM).writer.manifests([id_])
            return receipts[-1], manifests[id_]

        return self._run(look)

    def receipts(self, ids: Iterable[str]) -> dict[str, list[Receipt]]:
        """All receipts of documents."""
        return self._run(lambda site: receipts_of(site, ids))

    def _run(self, work: Callable[[Site], Awaitable[T]]) -> T:
        async def within() -> T:
            site = open_site(self._config, {})
            try:
                return await work(site)
            finally:
                await site.close()

        return asyncio.run(within())


async def receipts_of(site: Site, ids: Iterable[str]) -> dict[str, list[Receipt]]:
    ledger = site.ledger(STREAM)
    return {id_: await ledger.receipts(id_) for id_ in ids}


def _complain(number: int, reason: str) -> None:
    raise AssertionError(f"line {number}: {reason}")
