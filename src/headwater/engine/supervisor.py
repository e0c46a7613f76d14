"""The life of one stream's worker: open, synchronise the source, run the loop, obey commands, end.

Each stream has its own; what halts one leaves the others alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from headwater.clock import Clock, Dice, Ids
from headwater.embedding.gateway import Gateway
from headwater.embedding.port import Embedder
from headwater.engine.apply import Offload
from headwater.engine.feeding import Feed
from headwater.engine.intake import Intake, Start
from headwater.engine.loop import Limits, Loop, Parts
from headwater.engine.markers import check, resumed, since_made
from headwater.engine.opening import Opening, Situation, fed_from, open_stream, starts_of
from headwater.engine.ordering import Waiting
from headwater.engine.plan import Draft
from headwater.errors import Changed, Halt, HeadwaterError, Misconfigured, Reject
from headwater.indexes.port import IndexCatalogue, IndexWriter
from headwater.log.port import Ledger, LogHistory, LogReader, Registry, Watermarks
from headwater.model.change import Record, mark_of, witness_of
from headwater.model.document import Fingerprints, Recipe
from headwater.model.generation import Generation, GenerationState
from headwater.model.receipt import CaughtUp, DeadState
from headwater.model.registry import ANY_EPOCH, Epoch, StreamState
from headwater.model.version import Place
from headwater.observability.signals import Emit, Event
from headwater.patience import Outage, Patience
from headwater.sources.port import Source


class End(StrEnum):
    """How a stream's worker ended."""

    DONE = "done"
    STOPPED = "stopped"
    PAUSED = "paused"
    HALTED = "halted"
    AWAY = "away"


class Ended(msgspec.Struct, frozen=True):
    """How it ended, with the reason, and the error if there was one."""

    stream: str
    end: End
    reason: str = ""
    error: HeadwaterError | None = None


class StreamPorts(msgspec.Struct, frozen=True):
    """All that a stream's worker works with.

    `open_reader` joins the group anew: a reader tells of its assignment once, so each session has its own. `recipe`
    makes the recipe with a number, `decode` reads a record. `offsets_apart` as in `Situation`.
    """

    name: str
    open_reader: Callable[[], LogReader]
    history: LogHistory
    ledger: Ledger
    registry: Registry
    catalogue: IndexCatalogue
    writer: IndexWriter
    embedder: Embedder
    recipe: Callable[[int], Recipe]
    decode: Callable[[Record, tuple[Epoch, ...]], Waiting]
    source: Source | None = None
    rescan_s: float = 10.0
    generation: int = 1
    offsets_apart: bool = False


class Machine(msgspec.Struct, frozen=True):
    """What the worker takes from the machine it runs on.

    Every `control_s` it looks at what people and other workers said, every `look_s` at the log itself.
    """

    clock: Clock
    dice: Dice
    ids: Ids
    offload: Offload[list[Draft | Reject]]
    emit: Emit
    limits: Limits = Limits()
    control_s: float = 1.0
    look_s: float = 10.0
    grace_s: float = 10.0


class StreamWorker:
    """Runs one stream."""

    def __init__(self, ports: StreamPorts, machine: Machine) -> None:
        self._ports = ports
        self._machine = machine
        self.patience = Patience(machine.clock, machine.dice, self._outage)
        self._stop = asyncio.Event()
        self._feed = Feed(ports.source, self.patience, machine.clock, self._tell, ports.rescan_s)

    def stop(self) -> None:
        """Ask it to end: what is in flight is finished and settled first, within the machine's grace."""
        self._stop.set()

    async def run(self, *, once: bool, timeout_s: float | None = None) -> Ended:
        """Run until stopped; with `once`, until everything that the log held at the start is settled.

        `timeout_s`: with `once`, end as AWAY when a dependency stays away for so long. Never raises a HeadwaterError.
        """
        try:
            while True:
                try:
                    ended = await self._session(once=once, timeout_s=timeout_s)
                except Changed as changed:
                    self._machine.emit(Event.STREAM_REOPENED, {"stream": self._ports.name, "reason": str(changed)})
                    await self._rest(self._machine.control_s)
                    continue
                if ended.end is End.PAUSED:
                    self._machine.emit(Event.STREAM_PAUSED, {"stream": self._ports.name, "reason": ended.reason})
                if once or ended.end is not End.PAUSED or not await self._until_resumed():
                    break
        except HeadwaterError as error:
            error = self._addressed(error)
            ended = Ended(self._ports.name, End.HALTED, str(error), error)
            self._machine.emit(Event.STREAM_HALTED, {"stream": self._ports.name, "reason": str(error)})
        self._machine.emit(Event.STREAM_STOPPED, {"stream": self._ports.name, "end": ended.end})
        return ended

    async def obstacle(self) -> HeadwaterError | None:
        """Return what an opening would halt on now, or None. Reads only, and waits as long as a dependency is away."""
        state = await self.patience.call(lambda: self._ports.registry.read(self._ports.name))
        try:
            await self._decide(state)
        except HeadwaterError as error:
            return self._addressed(error)
        return None

    # --- opening

    async def _session(self, *, once: bool, timeout_s: float | None) -> Ended:
        """One run of the loop, from opening to a stop, a pause or the goal."""
        guard = asyncio.ensure_future(self._guard(timeout_s if once else None))
        session = asyncio.ensure_future(self._open_and_run(once=once))
        try:
            await asyncio.wait({guard, session}, return_when=asyncio.FIRST_COMPLETED)
            if session.done():
                return session.result()
            return guard.result()
        finally:
            for task in (guard, session):
                task.cancel()
            await asyncio.gather(guard, session, return_exceptions=True)

    async def _open_and_run(self, *, once: bool) -> Ended:
        ports = self._ports
        state = await self.patience.call(lambda: ports.registry.read(ports.name))
        if state.paused:
            return Ended(ports.name, End.PAUSED, state.paused)
        opening, recipe = await self._open(state)
        reader = ports.open_reader()
        try:
            return await self._run_loop(reader, opening, recipe, once=once)
        finally:
            await reader.close()

    async def _run_loop(self, reader: LogReader, opening: Opening, recipe: Recipe, *, once: bool) -> Ended:
        ports = self._ports
        starts = partial(self._starts, opening.epochs)
        intake = Intake(reader, ports.history, starts, opening.epochs[-1], self._machine.clock)
        loop = self._loop(intake, opening, recipe)
        self._machine.emit(Event.STREAM_STARTED, {"stream": ports.name, "epoch": opening.epochs[-1].number})
        await self._feed.synchronise()
        await self._retake(loop, opening.epochs)
        watermarks = await self.patience.call(ports.history.watermarks)
        goal = {partition: marks.high for partition, marks in watermarks.items()} if once else None
        return await self._attend(loop, intake, opening.epochs, goal)

    async def _decide(self, state: StreamState) -> tuple[Generation | None, Fingerprints, Opening]:
        """Look, and decide how to begin. Nothing is changed yet."""
        ports = self._ports
        generation = await self._generation()
        fingerprints = ports.recipe(0).fingerprints
        self._same_recipe(generation, fingerprints)
        now_us = self._machine.clock.now_us()
        watermarks = await self.patience.call(ports.history.watermarks)
        situation = Situation(
            state=state,
            identity=await self.patience.call(ports.history.identity),
            watermarks=watermarks,
            generation=generation,
            before=await self._before(state, generation),
            witnesses=await self._witnesses(state, generation),
            offsets_apart=ports.offsets_apart,
        )
        opening = open_stream(situation)
        fed = fed_from(generation, opening.epochs, situation.identity)
        await self._caught(opening.starts, watermarks, fed, generation, now_us)
        return generation, fingerprints, opening

    async def _open(self, state: StreamState) -> tuple[Opening, Recipe]:
        ports = self._ports
        generation, fingerprints, opening = await self._decide(state)
        digest = ".".join(msgspec.structs.astuple(fingerprints))
        number = state.recipe if state.recipe_digest == digest else state.recipe + 1
        # A person's word is used up by this opening: left standing it would excuse a later rewind that nobody saw.
        if opening.minted or number != state.recipe or state.accept_epoch:
            await self._advance(state, opening, number, digest)
        recipe = ports.recipe(number)
        last = opening.epochs[-1]
        if generation is None:
            await self._create(recipe, last)
        elif opening.adopt:
            adopt = ports.catalogue.adopt
            await self.patience.call(lambda: adopt(ports.name, ports.generation, last.identity, last.number))
        return opening, recipe

    def _addressed(self, error: HeadwaterError) -> HeadwaterError:
        """Put the stream's name into a cure: what decides does not know it, and a reader wants a command to copy."""
        if isinstance(error, Halt):
            error.cure = error.cure.replace("STREAM", self._ports.name)
        return error

    async def _generation(self) -> Generation | None:
        ports = self._ports
        found = await self.patience.call(lambda: ports.catalogue.generations(ports.name))
        return next((row for row in found if row.number == ports.generation), None)

    def _same_recipe(self, generation: Generation | None, fingerprints: Fingerprints) -> None:
        if generation is None or generation.fingerprints == fingerprints:
            return
        pairs = zip(
            fingerprints.__struct_fields__,
            msgspec.structs.astuple(generation.fingerprints),
            msgspec.structs.astuple(fingerprints),
            strict=True,
        )
        changed = ", ".join(f"`{name}`" for name, built, now in pairs if built != now)
        raise Misconfigured(
            f"streams.{self._ports.name}.recipe",
            f"the recipe that index generation {generation.number} was built with",
            f"another one (changed: {changed})",
            hint="set `index: sqlite:///another.db` for this stream and run again: the log is replayed into it",
        )

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

    async def _waiting_at(self, state: StreamState, place: Place) -> Waiting | None:
        record = await self._record(place)
        return self._ports.decode(record, state.epochs or ANY_EPOCH) if record else None

    async def _record(self, place: Place) -> Record | None:
        """Read one record of history. None: the log does not hold it."""

        async def read() -> Record | None:
            async for record in self._ports.history.read(place.partition, place.offset, place.offset + 1):
                return record
            return None

        return await self.patience.call(read)

    async def _advance(self, state: StreamState, opening: Opening, recipe: int, digest: str) -> None:
        new = msgspec.structs.replace(
            state, epochs=opening.epochs, recipe=recipe, recipe_digest=digest, accept_epoch=False
        )
        registry, name = self._ports.registry, self._ports.name
        won = await self.patience.call(lambda: registry.advance(name, new))
        # A call that timed out may have won all the same: then its repeat finds what it wrote itself.
        written = msgspec.structs.replace(new, serial=state.serial + 1)
        if not won and await self.patience.call(lambda: registry.read(name)) != written:
            raise Changed("another worker changed the stream's registry entry meanwhile")

    async def _create(self, recipe: Recipe, epoch: Epoch) -> None:
        ports, machine = self._ports, self._machine
        model = ports.embedder.describe()
        generation = Generation(
            stream=ports.name,
            number=ports.generation,
            state=GenerationState.SERVING,
            recipe=recipe.number,
            fingerprints=recipe.fingerprints,
            model=model.name,
            dimensions=model.dimensions,
            incarnation=machine.ids.identity(),
            log_identity=epoch.identity,
            log_epoch=epoch.number,
            created_us=machine.clock.now_us(),
        )
        await self.patience.call(lambda: ports.catalogue.create(generation))

    def _loop(self, reader: LogReader, opening: Opening, recipe: Recipe) -> Loop:
        ports, machine = self._ports, self._machine
        parts = Parts(
            reader=reader,
            decode=lambda record: ports.decode(record, opening.epochs),
            recipe=recipe,
            gateway=Gateway(ports.embedder, self.patience),
            index=ports.writer,
            epochs=opening.epochs,
        )
        return Loop(
            parts,
            clock=machine.clock,
            patience=self.patience,
            offload=machine.offload,
            emit=machine.emit,
            limits=machine.limits,
        )

    async def _starts(self, epochs: tuple[Epoch, ...], committed: Mapping[int, int]) -> Mapping[int, Start]:
        """Look where the index needs these partitions from, now that they are this worker's."""
        history, now_us = self._ports.history, self._machine.clock.now_us()
        watermarks = await history.watermarks()
        if len(watermarks) != epochs[-1].partitions:
            raise Changed(f"the log has {len(watermarks)} partitions, and had {epochs[-1].partitions}")
        generation, identity = await self._generation(), await history.identity()
        starts = starts_of(generation, epochs, identity, watermarks, committed)
        fed = fed_from(generation, epochs, identity)
        caught = await self._caught(starts, watermarks, fed, generation, now_us)
        return {partition: Start(offset, caught.get(partition)) for partition, offset in starts.items()}

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
        life_s = await self.patience.call(self._ports.history.marker_life_s)
        caught = {}
        if life_s is not None:
            for partition, offset in starts.items():
                marks, stood = watermarks[partition], offset if partition in fed else None
                known = marks.caught or since_made(generation, now_us, life_s)
                caught[partition] = resumed(partition, stood, known, marks.high, now_us)
                check(partition, offset, caught[partition], now_us, life_s)
        return caught

    # --- running

    async def _attend(
        self, loop: Loop, intake: Intake, epochs: tuple[Epoch, ...], goal: Mapping[int, int] | None
    ) -> Ended:
        """Run the loop; beside it watch the source, the commands and the dead letters to be retried."""
        name = self._ports.name
        control = asyncio.ensure_future(self._control(loop, intake, epochs))
        rescan = asyncio.ensure_future(self._feed.follow())
        running = asyncio.ensure_future(loop.run(goal))
        try:
            await asyncio.wait({control, rescan, running}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                loop.stop()
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(running), self._machine.grace_s)
            for beside in (rescan, control):
                if beside.done():
                    beside.result()
            if running.done():
                running.result()
            if loop.too_many_rejected:
                reason = (
                    f"{loop.too_many_rejected}: look at `headwater dead list {name}`, mend the cause, "
                    f"then `headwater resume {name}`"
                )
                await self._pause(reason)
                return Ended(name, End.PAUSED, reason)
            if control.done() and (paused := control.result()):
                return Ended(name, End.PAUSED, paused)
            return Ended(name, End.STOPPED if self._stop.is_set() else End.DONE)
        finally:
            for task in (control, rescan, running):
                task.cancel()
            await asyncio.gather(control, rescan, running, return_exceptions=True)

    async def _control(self, loop: Loop, intake: Intake, epochs: tuple[Epoch, ...]) -> str:
        """Return when the stream is to end: the reason if it was paused, else empty."""
        ports, machine = self._ports, self._machine
        due_s = machine.clock.monotonic()
        while not self._stop.is_set():
            if machine.clock.monotonic() >= due_s:
                life_s = await self.patience.call(intake.look)
                # Often enough within a marker's life to notice in time that the reading does not keep up.
                due_s = machine.clock.monotonic() + min(
                    machine.look_s, machine.look_s if life_s is None else life_s / 4
                )
            await self._rest(machine.control_s)
            state = await self.patience.call(lambda: ports.registry.read(ports.name))
            if state.paused:
                return state.paused
            if state.epochs != epochs:
                raise Changed("another worker began a new log epoch")
            await self._retake(loop, epochs)
            if loop.looks_elsewhere:
                loop.note_elsewhere(await self._settled_elsewhere(epochs))
        return ""

    async def _settled_elsewhere(self, epochs: tuple[Epoch, ...]) -> Mapping[int, int]:
        """Look how far all partitions are settled, as far as it is in the index: one that was restored lacks some."""
        marks = await self.patience.call(self._ports.history.watermarks)
        committed = {partition: it.committed for partition, it in marks.items()}
        return starts_of(await self._generation(), epochs, epochs[-1].identity, marks, committed)

    async def _retake(self, loop: Loop, epochs: tuple[Epoch, ...]) -> None:
        ports = self._ports
        letters = await self.patience.call(lambda: ports.ledger.dead(frozenset({DeadState.RETRYING})))
        for letter in letters:
            if loop.retakes(letter.place):
                continue
            if self._stop.is_set():
                return
            record = await self._record(letter.place)
            change = ports.decode(record, epochs) if record else None
            if change is not None and change.version == letter.version:
                loop.retake([change])
            else:
                # Its record is gone, or belongs to another log epoch now: it can be discarded, never applied.
                move = partial(ports.ledger.move, letter.document, letter.version, DeadState.RETRYING, DeadState.OPEN)
                if await self.patience.call(move):
                    reason = "its record is no longer in the log"
                    fields = {"id": letter.document, "version": str(letter.version), "reason": reason}
                    self._machine.emit(Event.CHANGE_DEAD, fields)

    async def _guard(self, timeout_s: float | None) -> Ended:
        """Return when a dependency has been away for too long. Without a limit it waits for the stop and its grace."""
        clock, name = self._machine.clock, self._ports.name
        while True:
            await self._rest(self._machine.control_s)
            now_s = clock.monotonic()
            for outage in list(self.patience.outages.values()):
                if timeout_s is not None and now_s - outage.since_s >= timeout_s:
                    return Ended(name, End.AWAY, f"{outage.dependency}: {outage.cause}")
            if self._stop.is_set():
                await clock.sleep(2 * self._machine.grace_s)
                return Ended(name, End.STOPPED, "what was in flight did not finish in time; it will be done again")

    async def _rest(self, seconds: float) -> None:
        """Sleep, but not past a stop."""
        sleeping = asyncio.ensure_future(self._machine.clock.sleep(seconds))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            stopping.cancel()

    async def _pause(self, reason: str) -> None:
        registry, name = self._ports.registry, self._ports.name
        while True:
            state = await self.patience.call(lambda: registry.read(name))
            paused = msgspec.structs.replace(state, paused=reason)
            if state.paused:
                return
            if await self.patience.call(partial(registry.advance, name, paused)):
                return

    async def _until_resumed(self) -> bool:
        """Wait while the stream is paused; tell whether it was resumed rather than stopped."""
        while not self._stop.is_set():
            await self._rest(self._machine.control_s)
            state = await self.patience.call(lambda: self._ports.registry.read(self._ports.name))
            if not state.paused:
                return True
        return False

    def _tell(self, event: Event, fields: dict[str, Any]) -> None:
        self._machine.emit(event, {"stream": self._ports.name, **fields})

    def _outage(self, outage: Outage | None, dependency: str) -> None:
        fields = {"stream": self._ports.name, "dependency": dependency}
        if outage is None:
            self._machine.emit(Event.OUTAGE_ENDED, fields)
        else:
            told = {**fields, "cause": outage.cause, "then": "waiting until it is back"}
            self._machine.emit(Event.OUTAGE_BEGAN, told)
