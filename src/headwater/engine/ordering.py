"""PURE: which change of which document is worked on next.

Of several waiting changes of a document only the newest is worked on; the older ones are settled with it, or taken up
if it turns out poison. One piece of work a document at a time. Documents take turns in the order of their oldest
waiting change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

import msgspec

from headwater.errors import Halt
from headwater.model.change import Change, Undecodable
from headwater.model.version import Place, compare, newer

Waiting = Change | Undecodable


class Chain(msgspec.Struct, frozen=True):
    """The waiting changes of one document, the newest first. `removes`: that one only takes away, as was seen on its
    arrival, so that no filter need look at it again.
    """

    id: str
    changes: tuple[Waiting, ...]
    removes: bool = False


class Ordering:
    """The changes that wait, by document."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, list[Waiting]] = OrderedDict()
        self._busy: set[str] = set()
        self.size_bytes = 0

    def __repr__(self) -> str:
        return f"Ordering({len(self._waiting)} waiting, {len(self._busy)} busy)"

    def __len__(self) -> int:
        return len(self._waiting)

    def arrive(self, change: Waiting) -> None:
        """Let a change wait behind those of other documents. Raise Halt for an equal version with another body."""
        chain = self._waiting.setdefault(change.id, [])
        chain.insert(_place_of(change, chain), change)
        self.size_bytes += change.size_bytes

    def overtake(self, removal: Change) -> tuple[Waiting, ...]:
        """Take out the waiting changes that a removal overtakes: they are settled when it is.

        Their bodies stay behind: a removal cannot turn out poison, so they are never worked on.
        """
        chain = self._waiting.get(removal.id, [])
        overtaken = tuple(change for change in chain if not newer(change.version, removal.version))
        self._drop(removal.id, overtaken)
        return tuple(map(_without_body, overtaken))

    def take(self, max_documents: int, max_bytes: int) -> list[Chain]:
        """Take work: whole chains of documents that nothing is done about yet, at most so much (one larger chain alone
        is allowed).
        """
        chains: list[Chain] = []
        taken_bytes = 0
        for document in self._waiting:
            if len(chains) >= max_documents:
                break
            if document in self._busy:
                continue
            changes = tuple(self._waiting[document])
            # The older ones are only worked on when the newest turns out poison, so it alone counts as work.
            size = changes[0].size_bytes
            if chains and taken_bytes + size > max_bytes:
                break
            taken_bytes += size
            chains.append(Chain(document, changes))
        for chain in chains:
            self._drop(chain.id, chain.changes)
            self._busy.add(chain.id)
        return chains

    def finish(self, document: str) -> None:
        """The document's work is done: what waits of it may be taken."""
        self._busy.discard(document)

    def forget(self, partitions: frozenset[int], keep: Collection[Place] = ()) -> None:
        """Drop what waits from these partitions: they are another worker's now. What was not polled stays (`keep`)."""
        for document, chain in list(self._waiting.items()):
            gone = (it for it in chain if it.place.partition in partitions and it.place not in keep)
            self._drop(document, tuple(gone))

    def _drop(self, document: str, changes: tuple[Waiting, ...]) -> None:
        if not changes:
            return
        gone = set(map(id, changes))
        left = [change for change in self._waiting[document] if id(change) not in gone]
        self.size_bytes -= sum(change.size_bytes for change in changes)
        if left:
            self._waiting[document] = left
        else:
            del self._waiting[document]


def _place_of(change: Waiting, chain: list[Waiting]) -> int:
    for i, other in enumerate(chain):
        order = compare(change.version, other.version)
        if order == 0 and change.digest != other.digest:
            raise Halt("log-rewind", f"version {change.version} came twice with different bodies", REWIND_CURE)
        if order > 0:
            return i
    return len(chain)


def _without_body(change: Waiting) -> Waiting:
    if isinstance(change, Change):
        return msgspec.structs.replace(change, body=None, size_bytes=_BARE_BYTES)
    return change


#: What a change without its body costs.
_BARE_BYTES = 200

REWIND_CURE = "The log was rewound or re-made. If it is the right one: headwater resume STREAM --accept-log-epoch"
