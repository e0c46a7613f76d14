"""What a stream's documents need that is nowhere yet: a walk through the log, held against the index and the cache.

Only the newest change of a document counts that is not among the dead letters. Two passes: one finds it, keeping of
each document no more than where it lies; the other derives it. What the worker would do about it is decided by its own
functions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

import msgspec

from headwater.embedding.cache import Cache, Space, key_of
from headwater.engine.apply import screen
from headwater.engine.ordering import Waiting
from headwater.engine.plan import Derive, draft, plan
from headwater.engine.verification import BURIED
from headwater.indexes.port import IndexWriter
from headwater.log.port import Ledger, LogHistory
from headwater.model.change import Change, Record
from headwater.model.document import Recipe
from headwater.model.manifest import Manifest
from headwater.model.registry import Epoch
from headwater.model.version import Place, Version, compare

_PAGE = 128


class Stock(msgspec.Struct, frozen=True):
    """A stream's log, and where vectors may be already. `index` None: there is none yet. `decode` as the worker's."""

    stream: str
    history: LogHistory
    ledger: Ledger
    epochs: tuple[Epoch, ...]
    decode: Callable[[Record, tuple[Epoch, ...]], Waiting]
    recipe: Recipe
    index: IndexWriter | None
    cache: Cache
    space: Space


class Page(NamedTuple):
    """Some documents. `settled` need nothing held for them: they are gone, or the index has their newest change.
    `needed` has, for each other one, the texts without a vector, by their digests.
    """

    settled: list[str]
    needed: dict[str, dict[bytes, str]]


class _Newest(NamedTuple):
    version: Version
    place: Place
    live: bool


async def needs(stock: Stock) -> AsyncIterator[Page]:
    """Yield all documents, in pages. Raise Retry when a dependency is away, Unreachable when one cannot be used."""
    marks = await stock.history.watermarks()
    bounds = {partition: (it.low, it.high) for partition, it in marks.items()}
    newest = await _newest(stock, bounds)
    ended = [document for document, it in newest.items() if not it.live]
    for start in range(0, len(ended), _PAGE):
        yield Page(ended[start : start + _PAGE], {})
    places = {it.place for it in newest.values() if it.live}
    page: list[Change] = []
    for partition, (low, high) in bounds.items():
        async for record in stock.history.read(partition, low, high):
            if record.place in places and isinstance(change := stock.decode(record, stock.epochs), Change):
                page.append(change)
            if len(page) == _PAGE:
                yield await _page(stock, page)
                page = []
    if page:
        yield await _page(stock, page)


async def _newest(stock: Stock, bounds: Mapping[int, tuple[int, int]]) -> dict[str, _Newest]:
    newest: dict[str, _Newest] = {}
    buried = {(letter.document, letter.version) for letter in await stock.ledger.dead(BURIED)}
    for partition, (low, high) in bounds.items():
        async for record in stock.history.read(partition, low, high):
            change, removes = screen(stock.recipe, stock.decode(record, stock.epochs))
            if (change.id, change.version) in buried:
                continue
            known = newest.get(change.id)
            order = compare(change.version, known.version) if known else 1
            live = isinstance(change, Change) and not removes
            # Copies may repeat a version; at an equal one a removal wins.
            if order > 0 or (order == 0 and not live):
                newest[change.id] = _Newest(change.version, change.place, live)
    return newest


async def _page(stock: Stock, changes: list[Change]) -> Page:
    manifests = await stock.index.manifests([change.id for change in changes]) if stock.index else {}
    settled: list[str] = []
    needed: dict[str, dict[bytes, str]] = {}
    for change in changes:
        stored = manifests.get(change.id)
        if not isinstance(plan(change, stored, stock.recipe.number, 0, passes=True), Derive):
            settled.append(change.id)
        elif texts := _texts(stock.recipe, change, stored):
            needed[change.id] = texts
    texts = {key: text for of_one in needed.values() for key, text in of_one.items()}
    there = set(await stock.index.vectors(list(texts))) if stock.index and texts else set()
    missing = {key: text for key, text in texts.items() if key not in there}
    kept = await stock.cache.get(stock.space, [key_of(text) for text in missing.values()], surely=True)
    there.update(key for key, vector in zip(missing, kept, strict=True) if vector is not None)
    left = {id_: {key: text for key, text in of_one.items() if key not in there} for id_, of_one in needed.items()}
    return Page(settled, {id_: of_one for id_, of_one in left.items() if of_one})


def _texts(recipe: Recipe, change: Change, stored: Manifest | None) -> dict[bytes, str]:
    try:
        derived = recipe.derive(change)
    except Exception:  # noqa: BLE001 (the worker makes a dead letter of it, and says why)
        return {}
    drafted = draft(change, stored, derived, recipe.number, 0)
    # What holds nothing but space has a vector without a model.
    return {key: text for (key, _), text in drafted.needs.items() if text.strip()}
