"""PURE rules that every index adapter shares: what a write must bring, how positions and floors move, what a filter
means. Who may write at all is `model.fence`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from headwater.errors import Halt
from headwater.model.change import witness_of
from headwater.model.fence import below_floor
from headwater.model.generation import Floor, Position, Seen
from headwater.model.manifest import Answer, Manifest, Mark, Verdict, Write
from headwater.model.version import Version

#: A chunk's name in its document: its text's digest and occurrence.
Name = tuple[bytes, int]


def names(manifest: Manifest | None) -> frozenset[Name]:
    """Return the rows that a manifest names."""
    return frozenset((chunk.digest, chunk.occurrence) for chunk in manifest.chunks) if manifest else frozenset()


def check_call(writes: Sequence[Write | Mark], dimensions: int) -> None:
    """Refuse a call that no adapter may carry out: two writes of one document, or a vector of another size."""
    if len({write.id for write in writes}) != len(writes):
        raise ValueError("at most one write a document in one call")
    for write in writes:
        if isinstance(write, Write) and any(len(row.vector) != 4 * dimensions for row in write.rows):
            raise Halt(
                "dimension-mismatch",
                f"a vector for an index of {dimensions} dimensions has another size",
                "Check that the model in the recipe is the one that the index was built with",
            )


def check_whole(write: Write, held: Iterable[Name]) -> None:
    """Refuse a write whose manifest names a chunk that it neither brings nor finds: it would leave a torn document."""
    if names(write.manifest) - {(row.digest, row.occurrence) for row in write.rows} - frozenset(held):
        raise Halt(
            "torn-document",
            "a write names chunks that it does not bring and the index does not hold",
            "This is a defect of Headwater or of a program that writes to the index beside it: please report it",
        )


def may_settle(answers: Iterable[Answer]) -> bool:
    """Tell whether positions may move with these answers: nothing is left to do again."""
    return all(answer.verdict in (Verdict.APPLIED, Verdict.STALE) for answer in answers)


def advance(stored: Iterable[Position], moved: Iterable[Position]) -> tuple[Position, ...]:
    """Move positions forward by (log epoch, offset). A position never goes back."""
    latest: dict[int, Position] = {}
    for position in (*stored, *moved):
        held = latest.get(position.partition)
        if held is None or (position.epoch, position.offset) > (held.epoch, held.offset):
            latest[position.partition] = position
    return tuple(latest[partition] for partition in sorted(latest))


def sight(stored: Iterable[Seen], applied: Iterable[Manifest], log_epoch: int) -> tuple[Seen, ...]:
    """Note the furthest places that these manifests came from, read in this log epoch."""
    furthest = {seen.partition: seen for seen in stored}
    for manifest in applied:
        partition, offset = manifest.place.partition, manifest.place.offset
        held = furthest.get(partition)
        if held is None or (log_epoch, offset) > (held.epoch, held.offset):
            witness = witness_of(manifest.id, manifest.body_digest)
            furthest[partition] = Seen(partition, log_epoch, offset, witness)
    return tuple(furthest[partition] for partition in sorted(furthest))


def lift(stored: Iterable[Floor], lifted: Iterable[Floor]) -> tuple[Floor, ...]:
    """Raise floors. A floor never goes back."""
    highest: dict[tuple[int, int], Floor] = {}
    for floor in (*stored, *lifted):
        held = highest.get((floor.epoch, floor.partition))
        if held is None or floor.offset > held.offset:
            highest[floor.epoch, floor.partition] = floor
    return tuple(highest[key] for key in sorted(highest))


def collectable(manifest: Manifest, floors: Iterable[Floor]) -> bool:
    """Tell whether a manifest is a fence that the floors have made needless.

    Only native versions are: a floor says nothing about an order that the source declares, nor about the log that a
    copy came from.
    """
    version = manifest.version
    native = version.order == 0 and manifest.place == version.place
    return (
        native
        and manifest.state.fence
        and (manifest.cap is None or _not_later(manifest.cap.version, version))
        and below_floor(version, floors)
    )


def _not_later(left: Version, right: Version) -> bool:
    # Not `compare`: two versions without an order must keep a fence, not halt its collection.
    if left.epoch != right.epoch:
        return left.epoch < right.epoch
    return (left.order, left.partition) == (right.order, right.partition) and left.offset <= right.offset


def matches(payload: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Tell whether a payload holds all of `where`: an equal value, or a list that contains it."""
    return all(key in payload and _holds(payload[key], wanted) for key, wanted in where.items())


def _holds(value: Any, wanted: Any) -> bool:
    return _equal(value, wanted) or (isinstance(value, list) and any(_equal(item, wanted) for item in value))


def _equal(left: Any, right: Any) -> bool:
    # In JSON `true` is not 1; in Python it is.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
