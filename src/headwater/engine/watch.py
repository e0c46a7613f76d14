"""Watching a model: that it still is what the index generation was built with, and that it reads texts to their end.

What is asked, and what the answers mean, stands in `embedding.witness`. Nothing is embedded for an index before its
model passed; removals, which need no model, go on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from headwater.clock import Clock
from headwater.embedding.cache import Cache, Space, key_of
from headwater.embedding.gateway import Embeddings, Gateway
from headwater.embedding.lanes import Lane
from headwater.embedding.orders import Refused
from headwater.embedding.port import PROBE
from headwater.embedding.witness import DRIFT, DRIFT_CURE, PROBES, TAIL, cosine, encode, likeness, tail_pair
from headwater.engine.stream import StreamPorts
from headwater.errors import Halt
from headwater.patience import Patience


class ModelWitness:
    """Looks at the model of one stream, for one session of whoever writes. One that is not `witnessed` is good."""

    def __init__(self, ports: StreamPorts, patience: Patience) -> None:
        self._ports = ports
        self._patience = patience
        self._passed = False
        self._looking = asyncio.Lock()

    async def ensure(self) -> None:
        """Look, unless the model passed already. Raise as `ask` and `accept` do."""
        if not self._passed:
            async with self._looking:
                if not self._passed:
                    await self.accept(await self.ask())

    async def watch(self, every_s: float, clock: Clock) -> None:
        """Look now, if nobody did, and then again and again. Return never; raise as `ask` and `accept` do."""
        await self.ensure()
        while True:
            await clock.sleep(every_s)
            await self.accept(await self.ask())

    async def ask(self) -> Sequence[bytes]:
        """Return the vectors of the probes, empty ones for those that the model refuses. Waits while it is away.

        Raise Halt("silent-truncation") when it does not see how texts end that are as long as the recipe's longest
        piece; to refuse them is honest.
        """
        courier = self._ports.courier
        if not courier.model.witnessed:
            return ()
        longest = self._ports.recipe(0).longest
        texts = [*PROBES, *tail_pair(longest)]
        order = await courier.carry(texts, self._ports.name, Lane.LIVE, self._patience)
        courier.pass_on(order)
        *probes, one, other = [b"" if isinstance(it, Refused) else it for it in order.answers]
        if one and other and (alike := cosine(one, other)) >= TAIL:
            raise Halt(
                "silent-truncation",
                f"{courier.model.name} gives texts of {longest} characters that end differently the same vector "
                f"(cosine {alike:.5f}): it cuts long texts, and does not say so",
                "Lower `chunk: {maximum: ...}` of the recipe, or take a model that reads longer texts",
            )
        return probes

    async def accept(self, probes: Sequence[bytes]) -> None:
        """Compare the probes with those that the index generation keeps; one without any keeps these.

        Raise Halt("model-drift") when they are another model's.
        """
        if probes:
            await self._compare_cached(probes[PROBES.index(PROBE)])
            ports, packed = self._ports, encode(probes)
            kept = await self._patience.call(
                lambda: ports.catalogue.keep_probes(ports.name, ports.generation, packed),
            )
            alike = likeness(kept, packed)
            if alike < DRIFT:
                raise await self._drift(alike)
        self._passed = True

    async def _compare_cached(self, probe: bytes) -> None:
        ports, model = self._ports, self._ports.courier.model
        if ports.cache is None or not probe:
            return
        space = Space(ports.tenant, model.fingerprint, model.dimensions)
        if not await same_as_cached(ports.cache, space, probe):
            raise cache_drift(model.name)

    async def _drift(self, alike: float) -> Halt:
        ports = self._ports
        rows = await self._patience.call(lambda: ports.catalogue.generations(ports.name))
        created_us = next(row.created_us for row in rows if row.number == ports.generation)
        since = datetime.fromtimestamp(created_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return Halt(
            "model-drift",
            f"{ports.courier.model.name} is not the model that index generation {ports.generation}, made {since}, was "
            f"built with: of the probes' vectors, kept and new, the least cosine is {alike:.3f}, at least {DRIFT} is "
            "expected. Nothing more is written",
            DRIFT_CURE,
        )


class WatchedGateway(Gateway):
    """A gateway that embeds nothing before its model passed."""

    def __init__(self, ports: StreamPorts, patience: Patience, witness: ModelWitness) -> None:
        super().__init__(ports.courier, ports.name, patience, when_too_long=ports.when_too_long)
        self._witness = witness

    async def ensure(self) -> None:
        await self._witness.ensure()

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        if texts:
            await self.ensure()
        return await super().embed(texts)


async def same_as_cached(cache: Cache, space: Space, probe: bytes) -> bool:
    """Tell whether the model that answers `probe` for PROBE is the one that filled the cache. The first one is."""
    (known,) = await cache.get(space, [key_of(PROBE)])
    if known is None:
        await cache.put(space, {key_of(PROBE): probe})
        return True
    return cosine(known, probe) >= DRIFT


def cache_drift(name: str) -> Halt:
    """Return what ends whoever would use a cache beside another model than it was filled by."""
    return Halt(
        "model-drift",
        f"{name} is not the model that the cache was filled by: another one stands behind the name now. "
        "Nothing more is written",
        DRIFT_CURE,
    )
