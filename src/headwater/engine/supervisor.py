"""The life of one stream's worker: open, synchronise the source, run the loop, obey commands, end.

Each stream has its own; what halts one leaves the others alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from headwater.clock import Clock, Dice, Ids
from headwater.embedding.cache import Kept, Space
from headwater.embedding.witness import INCIDENTS
from headwater.engine.apply import Offload
from headwater.engine.feeding import Feed
from headwater.engine.intake import Intake
from headwater.engine.loop import Limits, Loop, Parts
from headwater.engine.opener import Opener
from headwater.engine.opening import Opening, starts_of
from headwater.engine.plan import Draft
from headwater.engine.stream import StreamPorts
from headwater.engine.watch import ModelWitness, WatchedGateway
from headwater.errors import Changed, Halt, HeadwaterError, Reject
from headwater.log.port import LogReader
from headwater.model.document import Recipe
from headwater.model.receipt import DeadLetter, DeadState
from headwater.model.registry import Epoch
from headwater.observability.signals import Emit, Event
from headwater.patience import Outage, Patience

#: Dead letters that are read again between two looks at what people and other workers said.
_LETTERS = 500


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


class Machine(msgspec.Struct, frozen=True):
    """What the worker takes from the machine it runs on.

    Every `control_s` it looks at what people and other workers said, every `look_s` at the log itself, every
    `witness_s` at the model.
    """

    clock: Clock
    dice: Dice
    ids: Ids
    offload: Offload[list[Draft | Reject]]
    emit: Emit
    limits: Limits = Limits()
    control_s: float = 1.0
    look_s: float = 10.0
    witness_s: float = 600.0
    grace_s: float = 10.0


class StreamWorker:
    """Runs one stream."""

    def __init__(self, ports: StreamPorts, machine: Machine) -> None:
        self._ports = ports
        self._machine = machine
        self.patience = Patience(machine.clock, machine.dice, self._outage)
        self._stop = asyncio.Event()
        self._opener = Opener(ports, self.patience, machine.clock, machine.ids)
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
            if isinstance(error, Halt) and error.invariant in INCIDENTS:
                self._tell(Event.INCIDENT_RAISED, {"incident": error.invariant, "detail": error.detail})
            ended = Ended(self._ports.name, End.HALTED, str(error), error)
            self._machine.emit(
                Event.STREAM_HALTED, {"stream": self._ports.name, "reason": str(error), "code": error.code}
            )
        self._machine.emit(Event.STREAM_STOPPED, {"stream": self._ports.name, "end": ended.end})
        return ended

    async def obstacle(self) -> HeadwaterError | None:
        """Return what an opening would halt on now, or None. Reads only, and waits as long as a dependency is away."""
        try:
            await self._opener.decide()
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
        witness = ModelWitness(ports, self.patience)
        opening, recipe = await self._opener.open(witness)
        reader = ports.open_reader()
        try:
            return await self._run_loop(reader, opening, recipe, witness, once=once)
        finally:
            await reader.close()

    async def _run_loop(
        self, reader: LogReader, opening: Opening, recipe: Recipe, witness: ModelWitness, *, once: bool
    ) -> Ended:
        ports = self._ports
        starts = partial(self._opener.starts, opening.epochs)
        intake = Intake(reader, ports.history, starts, opening.epochs[-1], self._machine.clock)
        loop = self._loop(intake, opening, recipe, WatchedGateway(ports, self.patience, witness))
        self._machine.emit(Event.STREAM_STARTED, {"stream": ports.name, "epoch": opening.epochs[-1].number})
        return await self._attend(loop, intake, opening.epochs, witness, once=once)

    def _addressed(self, error: HeadwaterError) -> HeadwaterError:
        """Put the stream's name into a cure: what decides does not know it, and a reader wants a command to copy."""
        if isinstance(error, Halt):
            error.cure = error.cure.replace("STREAM", self._ports.name)
        return error

    def _loop(self, reader: LogReader, opening: Opening, recipe: Recipe, gateway: WatchedGateway) -> Loop:
        ports, machine = self._ports, self._machine
        model = ports.courier.model
        space = Space(ports.tenant, model.fingerprint, model.dimensions)
        parts = Parts(
            reader=reader,
            decode=lambda record: ports.decode(record, opening.epochs),
            recipe=recipe,
            gateway=gateway,
            index=ports.writer,
            epochs=opening.epochs,
            kept=Kept(ports.cache, space, ports.name) if ports.cache else None,
        )
        return Loop(
            parts,
            clock=machine.clock,
            patience=self.patience,
            offload=machine.offload,
            emit=machine.emit,
            limits=machine.limits,
        )

    # --- running

    async def _attend(
        self,
        loop: Loop,
        intake: Intake,
        epochs: tuple[Epoch, ...],
        witness: ModelWitness,
        *,
        once: bool,
    ) -> Ended:
        """Run the loop; beside it watch the model, the source, the commands and the dead letters to be retried."""
        name = self._ports.name
        control = asyncio.ensure_future(self._control(loop, intake, epochs, once=once))
        feeding = asyncio.ensure_future(self._feed_once(loop, epochs) if once else self._feed.follow())
        running = asyncio.ensure_future(loop.run())
        watching = asyncio.ensure_future(witness.watch(self._machine.witness_s, self._machine.clock))
        beside: tuple[asyncio.Future[Any], ...] = (feeding, control)
        try:
            await asyncio.wait({*beside, running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()  # it raises: what is under way is given up, so that nothing of it is written
            if not running.done():
                loop.stop()
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(running), self._machine.grace_s)
            for task in beside:
                if task.done():
                    task.result()
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
            for task in (*beside, running, watching):
                task.cancel()
            await asyncio.gather(*beside, running, watching, return_exceptions=True)

    async def _feed_once(self, loop: Loop, epochs: tuple[Epoch, ...]) -> None:
        """Let the loop end with what the log holds when all of the source is in it, and with the letters to retry.

        Never returns: the loop ends by itself.
        """
        await self._feed.synchronise()
        watermarks = await self.patience.call(self._ports.history.watermarks)
        # There may be no other worker: it takes every letter.
        while not await self._retake(loop, epochs, every=True) and not self._stop.is_set():
            await self._rest(self._machine.control_s)
        loop.aim({partition: marks.high for partition, marks in watermarks.items()})
        await asyncio.Event().wait()

    async def _control(self, loop: Loop, intake: Intake, epochs: tuple[Epoch, ...], *, once: bool) -> str:
        """Return when the stream is to end: the reason if it was paused, else empty."""
        ports, machine = self._ports, self._machine
        due_s = machine.clock.monotonic()
        while not self._stop.is_set():
            if machine.clock.monotonic() >= due_s:
                life_s = await self.patience.call(intake.look)
                self._opener.allow(life_s)
                # Often enough within a marker's life to notice in time that the reading does not keep up.
                due_s = machine.clock.monotonic() + min(
                    machine.look_s, machine.look_s if life_s is None else life_s / 4
                )
            if not once:
                await self._retake(loop, epochs, every=False)
            await self._rest(machine.control_s)
            state = await self.patience.call(lambda: ports.registry.read(ports.name))
            if state.paused:
                return state.paused
            if state.epochs != epochs:
                raise Changed("another worker began a new log epoch")
            if loop.looks_elsewhere:
                loop.note_elsewhere(await self._settled_elsewhere(epochs))
        return ""

    async def _settled_elsewhere(self, epochs: tuple[Epoch, ...]) -> Mapping[int, int]:
        """Look how far all partitions are settled, as far as it is in the index: one that was restored lacks some."""
        marks = await self.patience.call(self._ports.history.watermarks)
        committed = {partition: it.committed for partition, it in marks.items()}
        return starts_of(await self._opener.generation(), epochs, epochs[-1].identity, marks, committed)

    async def _retake(self, loop: Loop, epochs: tuple[Epoch, ...], *, every: bool) -> bool:
        """Have dead letters worked on that a person wants retried, as far as there is room. Tell whether that was all.

        Those of partitions that the log no longer has are everybody's.
        """
        letters = await self.patience.call(lambda: self._ports.ledger.dead(frozenset({DeadState.RETRYING})))
        taken = 0
        for letter in letters:
            partition = letter.place.partition
            held = every or partition >= epochs[-1].partitions or loop.holds(partition)
            if not held or loop.retakes(letter.place):
                continue
            if taken == _LETTERS or not loop.takes_more or self._stop.is_set():
                return False
            taken += 1
            await self._retake_one(loop, epochs, letter)
        return True

    async def _retake_one(self, loop: Loop, epochs: tuple[Epoch, ...], letter: DeadLetter) -> None:
        ports = self._ports
        record = await self._opener.record(letter.place)
        change = ports.decode(record, epochs) if record else None
        if change is not None and change.version == letter.version:
            loop.retake(change)
            return
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
