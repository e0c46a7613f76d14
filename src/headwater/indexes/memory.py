"""The in-memory index: for tests and simulation, on purpose an index *without transactions*.

The manifest is the commit point. A write takes three steps, and anything may happen between them:

1. put its new rows, each stamped with `since`;
2. replace the manifest by one conditional write, judged by `model.fence.admit` at that moment;
3. remove the document's rows that the manifest does not name and that are older than it.

`since` is the next revision of the generation, read together with the manifests before anything is put. Revisions are
never repeated, so a row stamped `since` was planned after every manifest with a smaller revision was there, and before
any with an equal or greater one. "Older than the manifest with revision r" is `since <= r`: one number, which any store
can filter by, and which orders what versions cannot: a policy pass, a repair and a removal at an equal version.

**Why a live manifest always finds its rows.** Take the writes of a document that won, in order. Let W name a row x.

- W brought x. Its stamp is later than every manifest that was there when W was planned, so no step 3 of theirs, however
  late, reaches it. A manifest that won after W was planned and before W won would have made W's base untrue: W lost.
  Where W was planned on no manifest, "none" may have come back, by a fence that was collected. Then that fence's
  revision is not before `since`, and `purged_revision` tells: W is answered CONFLICT (see `swap_manifest`).
- W keeps x, so the manifest that W was planned on names x. That one is the very predecessor of W, since W's base held.
  By the same argument it found x when it won. The only steps 3 that may still run are those of x's bringer, of what
  came before it, and of those that won since. The first have a revision before x's stamp; the last name x, because each
  was the base of the next. (A removal names nothing; after it x must be brought again.)
- Another write puts x again: its stamp replaces an earlier one only, so a row's stamp never goes back; and equal
  digests of one model have equal vectors.

So nothing has to be looked at again after winning. What a writer that dies leaves behind are rows that no manifest
names: readers drop them, `orphans` counts them, and the next write that wins or is stale removes them.

A Halt for versions without an order is raised before the first step. Only if such a version is stored by another writer
in the middle of a call, can a part of the call have been applied.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np

from headwater.indexes import ranking, rules
from headwater.indexes.memory_tables import Key, MemoryTables, Moment, Tables
from headwater.indexes.port import Capabilities, Hit, Stored
from headwater.model.fence import admit, succeed
from headwater.model.generation import Floor, Generation, Position
from headwater.model.manifest import Answer, ChunkRef, Manifest, Mark, Row, Verdict, Write

__all__ = ["CAPABILITIES", "MemoryCatalogue", "MemoryIndexReader", "MemoryIndexWriter", "MemoryTables"]

CAPABILITIES = Capabilities(
    fenced=True,
    atomic_document=False,
    reads_own_writes=True,
    durable_on_ack=False,
    native_filter=True,
    purges=True,
    atomic_switch=False,
)


class MemoryIndexWriter:
    """Writes one index generation in shared tables. Any number of writers may, interleaved at any step."""

    def __init__(self, tables: Tables, stream: str, number: int) -> None:
        self._tables = tables
        self._key = Key(stream, number)

    def __repr__(self) -> str:
        return f"MemoryIndexWriter({self._key.stream!r}, {self._key.number})"

    async def manifests(self, ids: Sequence[str]) -> dict[str, Manifest]:
        return (await self._tables.look(self._key, ids)).manifests

    async def vectors(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self._tables.vectors(self._key, frozenset(digests))

    async def apply(self, writes: Sequence[Write | Mark], positions: Sequence[Position] = ()) -> list[Answer]:
        moment = await self._tables.look(self._key, [write.id for write in writes])
        rules.check_call(writes, moment.generation.dimensions)
        foreseen = [_foresee(write, moment) for write in writes]
        answers = [await self._carry_out(write, answer, moment) for write, answer in zip(writes, foreseen, strict=True)]
        if positions and rules.may_settle(answers):
            await self._tables.move_positions(self._key, positions)
        return answers

    async def purge(self, floors: Sequence[Floor]) -> int:
        """Floors first: a fence goes only when nothing older than it can come back."""
        await self._tables.lift_floors(self._key, floors)
        collected = [
            await self._tables.collect_fence(self._key, document) for document in await self._tables.ids(self._key)
        ]
        return sum(collected)

    async def generation(self) -> Generation:
        return (await self._tables.look(self._key, ())).generation

    async def close(self) -> None:
        """Nothing is held."""

    async def _carry_out(self, write: Write | Mark, foreseen: Answer, moment: Moment) -> Answer:
        since = moment.generation.next_revision
        if foreseen.verdict is not Verdict.APPLIED:
            # It cannot win any more. A repeat after a crash finds its own manifest here, and its rows to remove.
            await self._sweep(write.id, moment.manifests.get(write.id))
            return foreseen
        rows = _named_rows(write)
        if rows:
            await self._tables.put_rows(self._key, write.id, since, rows)
        answer, manifest = await self._tables.swap_manifest(self._key, write, since)
        await self._sweep(write.id, manifest)
        return answer

    async def _sweep(self, document: str, manifest: Manifest | None) -> None:
        """Remove what is older than this manifest and not named by it. Anybody may, at any time."""
        if manifest is not None:
            await self._tables.drop_rows(self._key, document, rules.names(manifest), manifest.revision)


class MemoryIndexReader:
    """Reads one index generation in shared tables. It computes every search anew: for small indexes."""

    def __init__(self, tables: Tables, stream: str, number: int) -> None:
        self._tables = tables
        self._key = Key(stream, number)

    def __repr__(self) -> str:
        return f"MemoryIndexReader({self._key.stream!r}, {self._key.number})"

    async def search(self, vector: bytes, k: int, where: Mapping[str, Any]) -> list[Hit]:
        query = ranking.query_vector(vector, (await self.generation()).dimensions)
        found = [
            (stored, place, chunk)
            for stored in await self._tables.documents(self._key, None)
            if stored.manifest.shown and rules.matches(stored.manifest.payload, where)
            for place, chunk in enumerate(stored.manifest.chunks)
            if (chunk.digest, chunk.occurrence) in stored.rows
        ]
        if not found or k <= 0:
            return []
        vectors = np.frombuffer(b"".join(_row(stored, chunk)[1] for stored, _, chunk in found), "<f4")
        places, scores = ranking.nearest(vectors.reshape(len(found), -1), query, k, None)
        ranked = sorted(
            (-score, found[index][0].manifest.id.encode(), found[index][1], index)
            for index, score in zip(places.tolist(), scores.tolist(), strict=True)
        )
        return [_hit(found[index][0], found[index][2], -negative) for negative, _, _, index in ranked[:k]]

    async def scan(self, ids: Sequence[str] | None = None) -> AsyncIterator[Stored]:
        wanted = await self._tables.ids(self._key) if ids is None else sorted(set(ids), key=str.encode)
        for document in wanted:
            for stored in await self._tables.documents(self._key, [document]):
                yield stored

    async def orphans(self) -> int:
        count = 0
        for document in await self._tables.ids(self._key):
            count += await self._tables.count_unnamed(self._key, document)
        return count

    async def generation(self) -> Generation:
        return (await self._tables.look(self._key, ())).generation

    async def close(self) -> None:
        """Nothing is held."""


class MemoryCatalogue:
    """The index generations in shared tables."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def __repr__(self) -> str:
        return f"MemoryCatalogue({self._tables!r})"

    async def generations(self, stream: str) -> list[Generation]:
        return await self._tables.generations(stream)

    async def create(self, generation: Generation) -> bool:
        return await self._tables.create(generation)

    async def adopt(self, stream: str, number: int, log_identity: str, log_epoch: int) -> None:
        await self._tables.adopt(Key(stream, number), log_identity, log_epoch)

    async def keep_probes(self, stream: str, number: int, probes: bytes) -> bytes:
        return await self._tables.keep_probes(Key(stream, number), probes)

    async def probes(self, stream: str, number: int) -> bytes:
        return await self._tables.probes(Key(stream, number))

    async def close(self) -> None:
        """Nothing is held."""


def _foresee(write: Write | Mark, moment: Moment) -> Answer:
    """Judge a write before its first step, so that what cannot win puts no rows, and what must halt does so early."""
    stored = moment.manifests.get(write.id)
    answer = admit(write, stored, moment.generation)
    if answer.verdict is Verdict.APPLIED:
        succeed(write, stored, 0)  # it may halt
        if isinstance(write, Write):
            rules.check_whole(write, rules.names(stored))
    return answer


def _named_rows(write: Write | Mark) -> tuple[Row, ...]:
    if isinstance(write, Mark):
        return ()
    named = rules.names(write.manifest)
    return tuple(row for row in write.rows if (row.digest, row.occurrence) in named)


def _row(stored: Stored, chunk: ChunkRef) -> tuple[str, bytes]:
    return stored.rows[chunk.digest, chunk.occurrence]


def _hit(stored: Stored, chunk: ChunkRef, score: float) -> Hit:
    return Hit(stored.manifest, chunk, _row(stored, chunk)[0][chunk.skip :], score)
