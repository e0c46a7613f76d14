"""PURE: how a worker begins with a stream: which log epoch its records belong to, and where to read on.

An index is only ever fed from the log that it was built from. A log that was re-made, rewound or restored from a backup
in front of a surviving index is found here, before a single record is read, and halts the stream until a person accepts
it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headwater.engine.ordering import REWIND_CURE
from headwater.errors import Halt, Misconfigured
from headwater.log.port import Watermarks
from headwater.log.rules import REBUILD
from headwater.model.document import Fingerprints
from headwater.model.generation import Generation, Position
from headwater.model.registry import Epoch, StreamState


class Situation(msgspec.Struct, frozen=True):
    """What was found: the registry's entry, the log, and the index generation's row, if there is one.

    `before` gives, for each position of the generation, the mark of the log's change just before it; None
    where the log holds no change there. `witnesses` gives the same for the furthest place that it was fed from.
    `offsets_apart`: the group's committed offsets are kept apart from the log, and stay when that is rewound.
    """

    state: StreamState
    identity: str
    watermarks: Mapping[int, Watermarks]
    generation: Generation | None
    before: Mapping[int, bytes | None]
    witnesses: Mapping[int, bytes | None] = {}
    offsets_apart: bool = False


class Opening(msgspec.Struct, frozen=True):
    """What to do: the epochs to go on with (new ones are to be advanced in the registry), and where to start reading.

    `minted`: the last epoch is new. `adopt`: the generation is to be told of the last epoch's log.
    """

    epochs: tuple[Epoch, ...]
    minted: bool
    adopt: bool
    starts: Mapping[int, int]


def open_stream(situation: Situation) -> Opening:
    """Decide. Raise Halt when the log is not the one that the index was built from and nobody accepted it."""
    epochs = situation.state.epochs
    generation = situation.generation
    minted = _mint(situation)
    if minted is not None:
        epochs = (*epochs, minted)
    adopt = generation is not None and (
        generation.log_identity != situation.identity or generation.log_epoch != epochs[-1].number
    )
    committed = {partition: marks.committed for partition, marks in situation.watermarks.items()}
    starts = starts_of(generation, epochs, situation.identity, situation.watermarks, committed)
    return Opening(epochs, minted is not None, adopt, starts)


def _mint(situation: Situation) -> Epoch | None:
    """Return the epoch to be minted, or None when the last one holds."""
    epochs, generation = situation.state.epochs, situation.generation
    partitions = len(situation.watermarks)
    last = epochs[-1] if epochs else None
    number = max(last.number if last else 0, generation.log_epoch if generation else 0) + 1
    if wrong := _not_its_log(situation):
        if last and generation and last.identity == situation.identity and last.number > generation.log_epoch:
            return None  # accepted before; the worker died before the index was told
        if not situation.state.accept_epoch:
            raise Halt("log-rewind", wrong, REWIND_CURE)
        other_log = generation is not None and generation.log_identity != situation.identity
        boundaries = dict.fromkeys(situation.watermarks, 0) if other_log else _known_history(situation)
        return Epoch(number, situation.identity, partitions, boundaries)
    if last is None:
        return Epoch(number, situation.identity, partitions)
    if situation.state.accept_epoch and generation is not None:
        # A record met a manifest of its own version with another body: nothing that is looked at here shows that.
        return Epoch(number, situation.identity, partitions, _known_history(situation))
    if last.partitions != partitions or last.identity != situation.identity:
        # Where a partition is new, all of it was written after the number changed.
        old = range(last.partitions)
        boundaries = {p: marks.high if p in old else 0 for p, marks in situation.watermarks.items()}
        return Epoch(number, situation.identity, partitions, boundaries)
    return None


def _known_history(situation: Situation) -> dict[int, int]:
    """Of the same log, what was settled before the backup was taken is the history that the index knows; the rest may
    be another one. Where offsets are kept apart, nothing tells when it was taken: all of it may be another one.
    """
    if situation.offsets_apart:
        return dict.fromkeys(situation.watermarks, 0)
    positions = {it.partition: it.offset for it in situation.generation.positions} if situation.generation else {}
    return {p: min(marks.committed, positions.get(p, marks.committed)) for p, marks in situation.watermarks.items()}


def _not_its_log(situation: Situation) -> str | None:
    generation = situation.generation
    if generation is None:
        return None
    if generation.log_identity != situation.identity:
        return "the index was built from another log"
    known = situation.state.epochs[-1].number if situation.state.epochs else 0
    if generation.log_epoch > known:
        return f"the index has seen log epoch {generation.log_epoch}, and the log knows of {known}"
    for position in generation.positions:
        marks = situation.watermarks.get(position.partition)
        if marks is None or _beyond(position.epoch, position.partition, position.offset, situation.state.epochs):
            continue
        if position.offset > marks.high:
            return (
                f"the index has seen partition {position.partition} up to offset {position.offset}, "
                f"and the log ends at {marks.high}"
            )
        found = situation.before.get(position.partition)
        if found is not None and position.mark and found != position.mark:
            return (
                f"partition {position.partition} holds another change before offset {position.offset} "
                "than the one that the index saw"
            )
    for seen in generation.seen:
        marks = situation.watermarks.get(seen.partition)
        if marks is None or _beyond(seen.epoch, seen.partition, seen.offset + 1, situation.state.epochs):
            continue
        held = situation.witnesses.get(seen.partition)
        if seen.offset >= marks.high or (held is not None and held != seen.witness):
            return f"the index has a change from partition {seen.partition} offset {seen.offset}, and the log has not"
    return None


def _beyond(epoch: int, partition: int, offset: int, epochs: tuple[Epoch, ...]) -> bool:
    """Tell whether it lies behind the boundary at which a later epoch of the log began: it is history then."""
    return any(it.number > epoch and offset > it.boundaries.get(partition, 0) for it in epochs)


def starts_of(
    generation: Generation | None,
    epochs: tuple[Epoch, ...],
    identity: str,
    watermarks: Mapping[int, Watermarks],
    committed: Mapping[int, int],
) -> dict[int, int]:
    """Return from which offset the index needs each of the partitions that `committed` names. Raise Halt where the log
    no longer holds it.
    """
    known = {p.partition: p for p in generation.positions} if generation else {}
    same_log = generation is None or generation.log_identity == identity
    starts = {}
    for partition, settled in committed.items():
        marks = watermarks[partition]
        position = known.get(partition) if same_log else None
        # A row behind the committed offsets is that of an index restored from a backup: go back to it. A new index
        # begins with all that the log holds.
        start = min(settled, _settled_to(position, epochs, marks.low)) if position else marks.low
        if start < marks.low:
            raise Halt(
                "log-truncation-gap",
                f"partition {partition} is needed from offset {start}, and the log begins at {marks.low}",
                REBUILD,
            )
        starts[partition] = start
    return starts


def fed_from(generation: Generation | None, epochs: tuple[Epoch, ...], identity: str) -> frozenset[int]:
    """Return the partitions of this log of which an index may hold anything. Removals go ahead of what is settled."""
    if generation is None or generation.log_identity != identity:
        return frozenset()
    fed = [(it.partition, it.epoch) for it in generation.positions]
    fed += [(it.partition, it.epoch) for it in generation.seen]
    return frozenset(partition for partition, epoch in fed if not _from_another_log(partition, epoch, epochs))


def _from_another_log(partition: int, epoch: int, epochs: tuple[Epoch, ...]) -> bool:
    """Tell whether a later epoch began with all of the partition: what was read before was another log's."""
    return any(it.number > epoch and it.boundaries.get(partition, 0) == 0 for it in epochs)


def _settled_to(position: Position, epochs: tuple[Epoch, ...], low: int) -> int:
    """Return the offset up to which the index knows this log. What a later epoch began anew, it does not."""
    began = min(
        (epoch.boundaries.get(position.partition, 0) for epoch in epochs if epoch.number > position.epoch),
        default=position.offset,
    )
    return position.offset if began >= position.offset else max(low, began)


def same_recipe(stream: str, generation: Generation | None, fingerprints: Fingerprints) -> None:
    """Raise Misconfigured when an index generation was built with another recipe, and say what changed."""
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
        f"streams.{stream}.recipe",
        f"the recipe that index generation {generation.number} was built with",
        f"another one (changed: {changed})",
        hint="set `index: sqlite:///another.db` for this stream and run again: the log is replayed into it",
        code="made-otherwise",
    )
