"""The state of the in-memory index, and the single steps that a store without transactions offers on it.

A step happens at once or not at all: nothing in it awaits. Between two steps anything may happen. Faults are wrappers
around `Tables` that fail, delay or reorder steps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from headwater.errors import Unreachable
from headwater.indexes import rules
from headwater.indexes.port import Stored
from headwater.indexes.rules import Name
from headwater.model.fence import admit, succeed
from headwater.model.generation import Floor, Generation, Position
from headwater.model.manifest import Answer, Manifest, Mark, Row, Verdict, Write


class Key(NamedTuple):
    """Which index generation."""

    stream: str
    number: int


class Moment(NamedTuple):
    """The generation's row and some of its documents' manifests, read at one moment."""

    generation: Generation
    manifests: dict[str, Manifest]


class Swapped(NamedTuple):
    """The answer to a conditional write, and the manifest that is stored after it."""

    answer: Answer
    manifest: Manifest | None


class Tables(Protocol):
    """The steps. Each is atomic; each may raise Retry, done or not done."""

    async def look(self, key: Key, ids: Collection[str]) -> Moment:
        """Read the generation's row and these documents' manifests."""
        ...

    async def documents(self, key: Key, ids: Collection[str] | None) -> list[Stored]:
        """Read documents (None: all that have a manifest) with all their rows."""
        ...

    async def ids(self, key: Key) -> list[str]:
        """Return the ids of all documents that have a manifest or rows, in the order of their bytes."""
        ...

    async def count_unnamed(self, key: Key, document: str) -> int:
        """Count the document's rows that no manifest names."""
        ...

    async def put_rows(self, key: Key, document: str, since: int, rows: Sequence[Row]) -> None:
        """Put rows, stamped with `since`. A row that is there with a later stamp stays as it is."""
        ...

    async def swap_manifest(self, key: Key, write: Write | Mark, since: int) -> Swapped:
        """Judge the write at this moment, and replace the manifest if it is admitted. The commit point."""
        ...

    async def drop_rows(self, key: Key, document: str, keep: Collection[Name], until: int) -> int:
        """Remove the document's rows that are not kept and whose stamp is not later than `until`; return how many."""
        ...

    async def move_positions(self, key: Key, positions: Sequence[Position]) -> None:
        """Move positions forward."""
        ...

    async def lift_floors(self, key: Key, floors: Sequence[Floor]) -> None:
        """Raise floors."""
        ...

    async def collect_fence(self, key: Key, document: str) -> bool:
        """Remove the document's manifest if it is a fence that the floors made needless; tell whether it was."""
        ...

    async def vectors(self, key: Key, digests: Collection[bytes]) -> dict[bytes, bytes]:
        """Return vectors that any generation of the stream with this one's model holds."""
        ...

    async def generations(self, stream: str) -> list[Generation]:
        """Return the rows of a stream's generations."""
        ...

    async def create(self, generation: Generation) -> bool:
        """Make a generation unless it is there."""
        ...

    async def adopt(self, key: Key, log_identity: str, log_epoch: int) -> None:
        """Write down the log that the generation is built from."""
        ...

    async def keep_probes(self, key: Key, probes: bytes) -> bytes:
        """Keep probes unless some are kept; return those that are."""
        ...

    async def probes(self, key: Key) -> bytes:
        """Return the probes that are kept, empty ones where none are."""
        ...


class _Held(NamedTuple):
    text: str
    vector: bytes
    since: int


class _Space:
    """One generation's tables."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.manifests: dict[str, Manifest] = {}
        self.rows: dict[str, dict[Name, _Held]] = {}
        self.probes = b""

    def change(self, **values: Any) -> None:
        self.generation = msgspec.structs.replace(self.generation, **values)


class MemoryTables:
    """All generations of one in-memory index. Gone with the process."""

    def __init__(self) -> None:
        self._spaces: dict[Key, _Space] = {}

    def __repr__(self) -> str:
        return f"MemoryTables({len(self._spaces)} generations)"

    async def look(self, key: Key, ids: Collection[str]) -> Moment:
        space = self._space(key)
        return Moment(
            space.generation, {document: space.manifests[document] for document in ids if document in space.manifests}
        )

    async def documents(self, key: Key, ids: Collection[str] | None) -> list[Stored]:
        space = self._space(key)
        wanted = space.manifests if ids is None else [document for document in ids if document in space.manifests]
        return [Stored(space.manifests[document], _plain(space.rows.get(document, {}))) for document in wanted]

    async def ids(self, key: Key) -> list[str]:
        space = self._space(key)
        return sorted(space.manifests.keys() | space.rows.keys(), key=str.encode)

    async def count_unnamed(self, key: Key, document: str) -> int:
        space = self._space(key)
        return len(space.rows.get(document, {}).keys() - rules.names(space.manifests.get(document)))

    async def put_rows(self, key: Key, document: str, since: int, rows: Sequence[Row]) -> None:
        held = self._space(key).rows.setdefault(document, {})
        for row in rows:
            name = (row.digest, row.occurrence)
            if name not in held or held[name].since <= since:
                held[name] = _Held(row.text, row.vector, since)

    async def swap_manifest(self, key: Key, write: Write | Mark, since: int) -> Swapped:
        space = self._space(key)
        generation = space.generation
        stored = space.manifests.get(write.id)
        answer = admit(write, stored, generation)
        if answer.verdict is not Verdict.APPLIED:
            return Swapped(answer, stored)
        if stored is None and generation.purged_revision >= since and isinstance(write, Write) and write.rows:
            # There may have been a fence since the write was planned on nothing: its rows may be gone.
            return Swapped(Answer(Verdict.CONFLICT), None)
        manifest = succeed(write, stored, generation.next_revision)
        space.manifests[write.id] = manifest
        space.change(next_revision=generation.next_revision + 1)
        if isinstance(write, Write):
            space.change(seen=rules.sight(generation.seen, [manifest], generation.log_epoch))
        return Swapped(msgspec.structs.replace(answer, revision=manifest.revision), manifest)

    async def drop_rows(self, key: Key, document: str, keep: Collection[Name], until: int) -> int:
        rows = self._space(key).rows
        held = rows.get(document, {})
        dropped = [name for name, row in held.items() if name not in keep and row.since <= until]
        for name in dropped:
            del held[name]
        if not held:
            rows.pop(document, None)
        return len(dropped)

    async def move_positions(self, key: Key, positions: Sequence[Position]) -> None:
        space = self._space(key)
        space.change(positions=rules.advance(space.generation.positions, positions))

    async def lift_floors(self, key: Key, floors: Sequence[Floor]) -> None:
        space = self._space(key)
        space.change(floors=rules.lift(space.generation.floors, floors))

    async def collect_fence(self, key: Key, document: str) -> bool:
        space = self._space(key)
        manifest = space.manifests.get(document)
        if manifest is None or not rules.collectable(manifest, space.generation.floors):
            return False
        del space.manifests[document]
        space.change(purged_revision=max(space.generation.purged_revision, manifest.revision))
        return True

    async def vectors(self, key: Key, digests: Collection[bytes]) -> dict[bytes, bytes]:
        model = self._space(key).generation.fingerprints.model
        return {
            name[0]: row.vector
            for other, space in self._spaces.items()
            if other.stream == key.stream and space.generation.fingerprints.model == model
            for held in space.rows.values()
            for name, row in held.items()
            if name[0] in digests
        }

    async def generations(self, stream: str) -> list[Generation]:
        return [self._spaces[key].generation for key in sorted(self._spaces) if key.stream == stream]

    async def create(self, generation: Generation) -> bool:
        key = Key(generation.stream, generation.number)
        if key in self._spaces:
            return False
        self._spaces[key] = _Space(generation)
        return True

    async def adopt(self, key: Key, log_identity: str, log_epoch: int) -> None:
        space = self._space(key)
        if log_epoch >= space.generation.log_epoch:
            space.change(log_identity=log_identity, log_epoch=log_epoch)

    async def keep_probes(self, key: Key, probes: bytes) -> bytes:
        space = self._space(key)
        space.probes = space.probes or probes
        return space.probes

    async def probes(self, key: Key) -> bytes:
        return self._spaces[key].probes if key in self._spaces else b""

    def _space(self, key: Key) -> _Space:
        if key not in self._spaces:
            raise Unreachable(
                "the index",
                f"it has no index generation {key.number} of stream {key.stream!r}",
                "Run `headwater run` first, which makes it",
                code="nothing-yet",
            )
        return self._spaces[key]


def _plain(held: dict[Name, _Held]) -> dict[Name, tuple[str, bytes]]:
    return {name: (row.text, row.vector) for name, row in held.items()}
