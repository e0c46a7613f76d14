"""Looks at streams through the ports of log and index. Nothing is written, and no document's text goes any further."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from headwater.doctor.streams import FoundStream, Spent
from headwater.embedding.spending import Spending
from headwater.errors import HeadwaterError
from headwater.log.port import LogHistory, Watermarks
from headwater.model.change import Change
from headwater.model.receipt import DeadState
from headwater.model.registry import ANY_EPOCH
from headwater.settings.stores import Store
from headwater.wiring import Site, recipe_of

#: A look at what an opening would find waits so long for what is away.
_LOOK_S = 5.0
#: So many of the newest changes of each partition are read.
_NEWEST = 8


async def look_at_stream(site: Site, stream: str, *, model_answers: bool) -> FoundStream:
    """Look at one stream whose log is there. Without its model, what an opening would halt on is not looked for."""
    settings, ledger = site.settings.streams[stream], site.ledger(stream)
    history = site.history(stream)
    marks = await history.watermarks()
    letters = await ledger.dead(frozenset({DeadState.OPEN, DeadState.RETRYING}))
    owner = site.journal.worker()
    rows = await site.generations(stream)
    oldest_us, bodies = await _read(site, stream, history, marks)
    return FoundStream(
        name=stream,
        index=str(settings.index.path),
        freshness_s=settings.freshness_s,
        paused=(await site.registry().read(stream)).paused,
        letters=len(letters),
        reason=letters[-1].reason if letters else "",
        changes=sum(mark.high - mark.committed for mark in marks.values()),
        settled=sum((await ledger.totals()).outcomes.values()),
        oldest_s=None if oldest_us is None else max(0, site.clock.now_us() - oldest_us) / 1e6,
        alone=isinstance(site.settings.log, Store),
        worker=owner.pid if owner else None,
        indexed=bool(rows),
        obstacle=await _obstacle(site, stream) if rows and model_answers else None,
        spent=await _spent(site, stream),
        payload=settings.recipe.payload,
        bodies=bodies,
    )


async def _read(
    site: Site, stream: str, history: LogHistory, marks: Mapping[int, Watermarks]
) -> tuple[int | None, list[Mapping[str, Any]]]:
    """Return the time of the oldest change that waits, and the bodies of the newest documents that are indexed."""
    decode, recipe = site.journal.decode(stream), recipe_of(site.settings.streams[stream], 0, "")
    times_us: list[int] = []
    bodies: list[Mapping[str, Any]] = []
    for partition, mark in marks.items():
        async for record in history.read(partition, mark.committed, mark.high):
            change = decode(record, ANY_EPOCH)
            times_us.append(change.time_us if isinstance(change, Change) else record.time_us)
            break
        async for record in history.read(partition, max(mark.low, mark.high - _NEWEST), mark.high):
            change = decode(record, ANY_EPOCH)
            if isinstance(change, Change) and change.body is not None and recipe.passes(change):
                bodies.append(change.body)
    return min(times_us, default=None), bodies


async def _obstacle(site: Site, stream: str) -> HeadwaterError | None:
    worker = site.worker(stream, lambda _event, _fields: None)
    try:
        async with asyncio.timeout(_LOOK_S):
            error = await worker.obstacle()
    except TimeoutError:
        return None  # what is away is no reason to halt
    return error


async def _spent(site: Site, stream: str) -> Spent | None:
    """Return what the stream's account spent in its period, over all streams that share it."""
    name = site.settings.streams[stream].recipe.embed.account
    account = site.settings.accounts[name] if name else None
    if name is None or account is None or account.prices is None or account.budget is None or not account.budget.hard:
        return None
    spending = Spending(*account.prices, account.budget.soft, account.budget.hard, account.budget.per)
    for other, settings in site.settings.streams.items():
        if settings.recipe.embed.account == name:
            spending.learn(other, (await site.ledger(other).totals()).daily, 0)
    return Spent(name, spending.spent_usd(site.clock.now_us()), account.budget.hard, account.budget.per)
