"""How a worker begins: looks at the log, the index and the registry, has `opening` decide, and carries that out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from headwater.clock import Clock, Ids
from headwater.engine.intake import Start
from headwater.engine.markers import check, resumed, since_made
from headwater.engine.opening import Opening, Situation, fed_from, open_stream, same_recipe, starts_of
from headwater.engine.ordering import Waiting
from headwater.engine.stream import StreamPorts
from headwater.engine.watch import ModelWitness
from headwater.errors import Changed, Misconfigured
from headwater.log.port import Watermarks
from headwater.model.change import Record, mark_of, witness_of
from headwater.model.document import Fingerprints, Recipe
from headwater.model.generation import Generation, GenerationState
from headwater.model.receipt import CaughtUp
from headwater.model.registry import ANY_EPOCH, Epoch, StreamState
from headwater.model.version import Place
from headwater.patience import Patience


class _Decision(NamedTuple):
    """How a stream begins, and what that was decided upon."""

    state: StreamState
    generation: Generation | None
    fingerprints: Fingerprints
    opening: Opening


class Opener:
    """Begins with one stream, and with each partition that is assigned later. Waits while a dependency is away."""

    def __init__(self, ports: StreamPorts, patience: Patience, clock: Clock, ids: Ids) -> None:
        self._ports = ports
        self._patience = patience
        self._clock = clock
        self._ids = ids

    async def decide(self) -> _Decision:
        """Look, and decide how to begin. Nothing is changed yet.

        Other workers go on meanwhile, and each writes first where this looks last: a change is in the log, then in the
        index, then committed; an epoch is in the registry, then in the index. In any other order what they do in
        between looks like an index from a backup, or like another log.
        """
        ports = self._ports
        await self._patience.call(ports.courier.open)
        now_us = self._clock.now_us()
        settled = await self._patience.call(ports.history.watermarks)
        generation = await self.generation()
        fingerprints = ports.recipe(0).fingerprints
        same_recipe(ports.name, generation, fingerprints)
        state = await self._patience.call(lambda: ports.registry.read(ports.name))
        ends = await self._patience.call(ports.history.watermarks)
        if settled.keys() != ends.keys():
            return await self.decide()  # partitions were added meanwhile: what is settled of them was not read first
        watermarks = {at: marks._replace(high=ends[at].high) for at, marks in settled.items()}
        situation = Situation(
            state=state,
            identity=await self._patience.call(ports.history.identity),
            watermarks=watermarks,
            generation=generation,
            before=await self._before(state, generation),
            witnesses=await self._witnesses(state, generation),
            offsets_apart=ports.offsets_apart,
        )
        opening = open_stream(situation)
        fed = fed_from(generation, opening.epochs, situation.identity)
        await self._caught(opening.starts, watermarks, fed, generation, now_us)
        return _Decision(state, generation, fingerprints, opening)

    async def open(self, witness: ModelWitness) -> tuple[Opening, Recipe]:
        """Decide, and take it down: in the registry, then in the index. Raise Changed when another was faster."""
        ports = self._ports
        state, generation, fingerprints, opening = await self.decide()
        # A model that will not do is found before an index is made: the recipe may be changed then without another one.
        probes = await witness.ask() if generation is None else ()
        digest = ".".join(msgspec.structs.astuple(fingerprints))
        number = state.recipe if state.recipe_digest == digest else state.recipe + 1
        # A person's word is used up by this opening: left standing it would excuse a later rewind that nobody saw.
        if opening.minted or number != state.recipe or state.accept_epoch:
            await self._advance(state, opening, number, digest)
        recipe = ports.recipe(number)
        last = opening.epochs[-1]
        if generation is None:
            await self._create(recipe, last)
            await witness.accept(probes)
        elif opening.adopt:
            adopt = ports.catalogue.adopt
            await self._patience.call(lambda: adopt(ports.name, ports.generation, last.identity, last.number))
        return opening, recipe

    async def generation(self) -> Generation | None:
        """Return the row of the index generation, if it is made."""
        ports = self._ports
        found = await self._patience.call(lambda: ports.catalogue.generations(ports.name))
        return next((row for row in found if row.number == ports.generation), None)

    async def record(self, place: Place) -> Record | None:
        """Read one record of history. None: the log does not hold it."""

        async def read() -> Record | None:
            async for record in self._ports.history.read(place.partition, place.offset, place.offset + 1):
                return record
            return None

        return await self._patience.call(read)

    async def _waiting_at(self, state: StreamState, place: Place) -> Waiting | None:
        record = await self.record(place)
        return self._ports.decode(record, state.epochs or ANY_EPOCH) if record else None

    async def starts(self, epochs: tuple[Epoch, ...], committed: Mapping[int, int]) -> Mapping[int, Start]:
        """Look where the index needs these partitions from, now that they are this worker's."""
        history, now_us = self._ports.history, self._clock.now_us()
        watermarks = await history.watermarks()
        if len(watermarks) != epochs[-1].partitions:
            raise Changed(f"the log has {len(watermarks)} partitions, and had {epochs[-1].partitions}")
        generation, identity = await self.generation(), await history.identity()
        starts = starts_of(generation, epochs, identity, watermarks, committed)
        fed = fed_from(generation, epochs, identity)
        caught = await self._caught(starts, watermarks, fed, generation, now_us)
        return {partition: Start(offset, caught.get(partition)) for partition, offset in starts.items()}

    async def _before(self, state: StreamState, generation: Generation | None) -> dict[int, bytes | None]:
        """Look up what the log holds just before each position of the index."""
        positions = generation.positions if generation else ()
        found = {it.partition: await self._waiting_at(state, Place(it.partition, it.offset - 1)) for it in positions}
        return {partition: mark_of(change) if change else None for partition, change in found.items()}

    async def _witnesses(self, state: StreamState, generation: Generation | None) -> dict[int, bytes | None]:
        """Look up what the log holds at the furthest places that the index was fed from."""
        seen = generation.seen if generation else ()
        found = {it.partition: await self._waiting_at(state, Place(it.partition, it.offset)) for it in seen}
        return {partition: witness_of(it.id, it.digest) if it else None for partition, it in found.items()}

    async def _advance(self, state: StreamState, opening: Opening, recipe: int, digest: str) -> None:
        new = msgspec.structs.replace(
            state, epochs=opening.epochs, recipe=recipe, recipe_digest=digest, accept_epoch=False
        )
        registry, name = self._ports.registry, self._ports.name
        won = await self._patience.call(lambda: registry.advance(name, new))
        # A call that timed out may have won all the same: then its repeat finds what it wrote itself.
        written = msgspec.structs.replace(new, serial=state.serial + 1)
        if not won and await self._patience.call(lambda: registry.read(name)) != written:
            raise Changed("another worker changed the stream's registry entry meanwhile")

    async def _create(self, recipe: Recipe, epoch: Epoch) -> None:
        ports = self._ports
        model = ports.courier.model
        generation = Generation(
            stream=ports.name,
            number=ports.generation,
            state=GenerationState.SERVING,
            recipe=recipe.number,
            fingerprints=recipe.fingerprints,
            model=model.name,
            dimensions=model.dimensions,
            incarnation=self._ids.identity(),
            log_identity=epoch.identity,
            log_epoch=epoch.number,
            created_us=self._clock.now_us(),
        )
        await self._patience.call(lambda: ports.catalogue.create(generation))

    def allow(self, marker_life_s: float | None) -> None:
        """Raise Misconfigured when the log is compacted, as a life of markers tells, and must not be."""
        if marker_life_s is not None and (why := self._ports.uncompacted):
            path = f"streams.{self._ports.name}.topic"
            raise Misconfigured(path, "a topic that is not compacted", "a compacted one", hint=why)

    async def _caught(
        self,
        starts: Mapping[int, int],
        watermarks: Mapping[int, Watermarks],
        fed: frozenset[int],
        generation: Generation | None,
        now_us: int,
    ) -> dict[int, CaughtUp]:
        """Return how current the index is where it goes on; nothing where every change is kept. Raise Halt where delete
        markers may be gone. The watermarks are of `now_us` or later.
        """
        life_s = await self._patience.call(self._ports.history.marker_life_s)
        self.allow(life_s)
        caught = {}
        if life_s is not None:
            for partition, offset in starts.items():
                marks, stood = watermarks[partition], offset if partition in fed else None
                known = marks.caught or since_made(generation, now_us, life_s)
                caught[partition] = resumed(partition, stood, known, marks.high, now_us)
                check(partition, offset, caught[partition], now_us, life_s)
        return caught
