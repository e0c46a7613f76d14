"""What a stream's worker works with."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headwater.embedding.cache import Cache
from headwater.embedding.courier import Courier
from headwater.embedding.gateway import WhenTooLong
from headwater.engine.ordering import Waiting
from headwater.indexes.port import IndexCatalogue, IndexWriter
from headwater.log.port import Ledger, LogHistory, LogReader, Registry
from headwater.model.change import Record
from headwater.model.document import Recipe
from headwater.model.registry import Epoch
from headwater.sources.port import Source


class StreamPorts(msgspec.Struct, frozen=True):
    """All that a stream's worker works with.

    `open_reader` joins the group anew: a reader tells of its assignment once, so each session has its own. `recipe`
    makes the recipe with a number, `decode` reads a record. `offsets_apart` as in `Situation`. `uncompacted` is why its
    log must not be compacted; empty where it may be.
    """

    name: str
    open_reader: Callable[[], LogReader]
    history: LogHistory
    ledger: Ledger
    registry: Registry
    catalogue: IndexCatalogue
    writer: IndexWriter
    courier: Courier
    recipe: Callable[[int], Recipe]
    decode: Callable[[Record, tuple[Epoch, ...]], Waiting]
    source: Source | None = None
    when_too_long: WhenTooLong = WhenTooLong.DEAD
    cache: Cache | None = None
    tenant: str = ""
    rescan_s: float = 10.0
    generation: int = 1
    offsets_apart: bool = False
    uncompacted: str = ""
