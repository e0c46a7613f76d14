"""What all workers of a stream agree on: its log epochs, its recipe number, and whether it is paused."""

from __future__ import annotations

import msgspec

from headwater.model.version import Place


class Epoch(msgspec.Struct, frozen=True):
    """An incarnation of a log: records of partition p from `boundaries[p]` on belong to it (from 0 where it names
    none).
    """

    number: int
    identity: str
    partitions: int
    boundaries: dict[int, int] = {}


#: For decoding a record where its log epoch does not matter, or none was minted yet.
ANY_EPOCH = (Epoch(1, "", 0),)


class StreamState(msgspec.Struct, frozen=True, kw_only=True):
    """A stream's entry in the registry. `serial` counts its writes; an advance names the one that it builds on.

    `paused` is the reason, or empty. `accept_epoch` is a person's word that the log in front of the index is the right
    one.
    """

    serial: int = 0
    epochs: tuple[Epoch, ...] = ()
    recipe: int = 0
    recipe_digest: str = ""
    paused: str = ""
    accept_epoch: bool = False


def epoch_of(epochs: tuple[Epoch, ...], place: Place) -> int:
    """Return the number of the log epoch that a record at this place belongs to. Raise ValueError before the first is
    minted.
    """
    for epoch in reversed(epochs):
        if place.offset >= epoch.boundaries.get(place.partition, 0):
            return epoch.number
    raise ValueError(f"no log epoch holds partition {place.partition} offset {place.offset}")
