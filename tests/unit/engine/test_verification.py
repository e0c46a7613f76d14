"""Verification finds each kind of damage, blames nothing that is sound, and repair mends what can be mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from headwater.clock import SystemClock, SystemDice, SystemIds
from headwater.embedding.courier import Courier
from headwater.embedding.gateway import Gateway
from headwater.embedding.providers.hash import HashEmbedder
from headwater.engine.repair import Tools, repair
from headwater.engine.stream import StreamPorts
from headwater.engine.supervisor import End, Ended, Machine, StreamWorker
from headwater.engine.verification import Kind, Subject, Verification, verify
from headwater.indexes.memory import MemoryCatalogue, MemoryIndexReader, MemoryIndexWriter, MemoryTables
from headwater.indexes.memory_tables import Key, _Held, _Space
from headwater.indexes.port import Stored, Torn, TornDocuments
from headwater.log.codecs.json import decode, delete, upsert
from headwater.log.memory import MemoryLog
from headwater.model.change import Change, Outgoing, digest
from headwater.model.manifest import Cause, Manifest, State
from headwater.model.receipt import DeadState
from headwater.model.version import Place, Version
from headwater.patience import Patience
from headwater.recipe.options import Chunking, PayloadField
from headwater.recipe.standard import StandardRecipe

STREAM = "articles"
LONG = "\n\n".join(f"Paragraph {i} says something about rivers, banks and sources, number {i}." for i in range(12))


class World:
    """A stream with its real worker, on the in-memory adapters."""

    def __init__(self, partitions: int = 1, predicate: Callable[[Change], bool] | None = None) -> None:
        self.clock = SystemClock()
        self.log = MemoryLog(self.clock, SystemIds())
        self.tables = MemoryTables()
        self.embedder = HashEmbedder(dimensions=16)
        self.partitions = partitions
        self.predicate = predicate
        self.writer = self.log.writer(STREAM, partitions)
        self.index = MemoryIndexReader(self.tables, STREAM, 1)

    def recipe(self, number: int) -> StandardRecipe:
        return StandardRecipe(
            number,
            Chunking(size=120),
            {"title": PayloadField("title"), "rank": PayloadField("rank", required=False)},
            None,
            self.embedder.describe().fingerprint,
            predicate=self.predicate,
            predicate_name="test" if self.predicate else "",
        )

    async def publish(self, *changes: Outgoing) -> None:
        await self.writer.append(changes)

    async def run(self) -> Ended:
        async def offload(work: Callable[[], Any]) -> Any:
            return work()

        ports = StreamPorts(
            name=STREAM,
            open_reader=lambda: self.log.reader(STREAM, STREAM, 1, self.partitions),
            history=self.log.history(STREAM, STREAM, self.partitions),
            ledger=self.log.ledger(STREAM, 1),
            registry=self.log.registry(),
            catalogue=MemoryCatalogue(self.tables),
            writer=MemoryIndexWriter(self.tables, STREAM, 1),
            courier=self.courier,
            recipe=self.recipe,
            decode=decode,
        )
        machine = Machine(
            clock=self.clock,
            dice=SystemDice(),
            ids=SystemIds(),
            offload=offload,
            emit=lambda event, fields: None,
            control_s=0.02,
        )
        return await StreamWorker(ports, machine).run(once=True)

    @property
    def courier(self) -> Courier:
        return Courier(self.embedder, self.clock, SystemDice())

    @property
    def subject(self) -> Subject:
        return Subject(
            stream=STREAM,
            history=self.log.history(STREAM, STREAM, self.partitions),
            ledger=self.log.ledger(STREAM, 1),
            registry=self.log.registry(),
            reader=self.index,
            recipe=self.recipe,
            decode=decode,
        )

    @property
    def tools(self) -> Tools:
        patience = Patience(self.clock, SystemDice(), lambda outage, dependency: None)
        return Tools(MemoryIndexWriter(self.tables, STREAM, 1), Gateway(self.courier, STREAM, patience), self.clock)

    @property
    def space(self) -> _Space:
        return self.tables._space(Key(STREAM, 1))

    def manifest(self, document: str) -> Manifest:
        return self.space.manifests[document]

    def change(self, document: str, **values: Any) -> None:
        """Damage a manifest behind everybody's back."""
        self.space.manifests[document] = msgspec.structs.replace(self.manifest(document), **values)


async def _settled(world: World) -> World:
    await world.publish(
        upsert("a", LONG, 1),
        upsert("b", "The second document.", 2),
        upsert("gone", "To be deleted.", 3),
        upsert("b", "The second document, changed.", 4),
        delete("gone", 5),
        delete("never", 6),
        upsert("empty", "", 7),
    )
    ended = await world.run()
    assert ended.end is End.DONE, ended
    return world


def check(test: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def go() -> None:
        await test(await _settled(World(**options)))

    asyncio.run(go())


def kinds(found: Verification) -> dict[str, Kind]:
    return {finding.id: finding.kind for finding in found.findings}


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_settled_stream_is_sound(partitions: int) -> None:
    async def test(world: World) -> None:
        found = await verify(world.subject)
        assert found.ok
        assert found.shape() == {
            "documents": 3,
            "missing": 0,
            "stale": 0,
            "orphans": 0,
            "duplicates": 0,
            "resurrected": 0,
            "unverifiable": 0,
            "ok": True,
        }
        assert found.findings == ()

    check(test, partitions=partitions)


def test_missing_is_found_and_mended() -> None:
    async def test(world: World) -> None:
        del world.space.manifests["b"]
        world.change("a", state=State.DELETED, version=Version(1, 0, 0, -1), chunks=())
        found = await verify(world.subject)
        assert (found.missing, found.stale, found.ok) == (2, 0, False)
        assert found.orphans > 0  # the rows are there still
        assert found.documents == 3
        mended = await repair(world.subject, world.tools)
        assert mended.after.ok, mended.after
        assert mended.mended == 2
        assert world.manifest("b").cause is Cause.REPAIR

    check(test)


def test_an_older_version_is_stale() -> None:
    async def test(world: World) -> None:
        world.change("b", version=Version(1, 0, 0, 1), place=Place(0, 1))
        found = await verify(world.subject)
        assert kinds(found) == {"b": Kind.STALE}
        mended = await repair(world.subject, world.tools)
        assert mended.after.ok
        assert world.manifest("b").version == Version(1, 0, 0, 3)

    check(test)


@pytest.mark.parametrize(
    "damage",
    [
        {"body_digest": digest("another")},
        {"payload": {"title": "other"}},
        {"payload_digest": digest("another")},
        {"chunks": ()},
        {"state": State.FILTERED},
    ],
    ids=str,
)
def test_other_content_at_the_right_version_is_mended(damage: dict[str, Any]) -> None:
    async def test(world: World) -> None:
        world.change("a", **damage)
        found = await verify(world.subject)
        assert not found.ok
        assert found.stale + found.missing == 1
        mended = await repair(world.subject, world.tools)
        assert mended.after.ok, mended.after.findings

    check(test)


def test_chunks_in_another_order_or_at_other_places_are_stale() -> None:
    async def test(world: World) -> None:
        chunks = world.manifest("a").chunks
        assert len(chunks) > 3
        for wrong in (chunks[::-1], chunks[:-1], (chunks[0]._replace(end=chunks[0].end - 1), *chunks[1:])):
            world.change("a", chunks=wrong)
            assert (await verify(world.subject)).stale == 1
        assert (await repair(world.subject, world.tools)).after.ok

    check(test)


def _spoil_vector(vector: np.ndarray[Any, Any]) -> Callable[[_Held], _Held]:
    return lambda row: row._replace(vector=vector.astype("<f4").tobytes())


@pytest.mark.parametrize(
    "spoil",
    [
        _spoil_vector(np.zeros(16)),
        _spoil_vector(np.full(16, np.nan)),
        _spoil_vector(np.full(16, np.inf)),
        _spoil_vector(np.full(16, 3.0)),
        _spoil_vector(np.ones(1)),
        lambda row: row._replace(text="another text"),
    ],
    ids=["zero", "nan", "infinite", "long", "size", "text"],
)
def test_a_row_that_is_not_what_it_is_named_for_is_mended(spoil: Callable[[_Held], _Held]) -> None:
    async def test(world: World) -> None:
        rows = world.space.rows["a"]
        name = next(iter(rows))
        rows[name] = spoil(rows[name])
        found = await verify(world.subject)
        assert kinds(found) == {"a": Kind.STALE}
        mended = await repair(world.subject, world.tools)
        assert (mended.mended, mended.after.ok) == (1, True)

    check(test)


def test_a_shallow_look_still_counts_sizes() -> None:
    async def test(world: World) -> None:
        rows = world.space.rows["a"]
        name = next(iter(rows))
        rows[name] = rows[name]._replace(vector=np.zeros(16, "<f4").tobytes())
        assert (await verify(world.subject, deep=False)).ok
        rows[name] = rows[name]._replace(vector=b"")
        assert not (await verify(world.subject, deep=False)).ok

    check(test)


def test_a_torn_document_is_mended() -> None:
    async def test(world: World) -> None:
        rows = world.space.rows["a"]
        del rows[next(iter(rows))]
        assert kinds(await verify(world.subject)) == {"a": Kind.STALE}
        assert (await repair(world.subject, world.tools)).after.ok

    check(test)


def test_resurrected_is_found_and_removed() -> None:
    async def test(world: World) -> None:
        kept = world.manifest("b")
        world.space.rows["gone"] = dict(world.space.rows["b"])
        world.change("gone", state=State.LIVE, chunks=kept.chunks, version=Version(1, 0, 0, 2), place=Place(0, 2))
        found = await verify(world.subject)
        assert (found.resurrected, kinds(found)) == (1, {"gone": Kind.RESURRECTED})
        mended = await repair(world.subject, world.tools)
        assert mended.after.ok
        assert world.manifest("gone").state is State.DELETED
        assert not world.space.rows.get("gone")

    check(test)


def test_resurrected_at_the_version_of_its_delete_is_removed() -> None:
    async def test(world: World) -> None:
        world.change("gone", state=State.LIVE)
        assert (await verify(world.subject)).resurrected == 1
        assert (await repair(world.subject, world.tools)).after.ok

    check(test)


def test_rows_that_no_manifest_names_are_orphans() -> None:
    async def test(world: World) -> None:
        row = next(iter(world.space.rows["a"].values()))
        world.space.rows["b"][digest("x"), 0] = row
        found = await verify(world.subject)
        assert (found.orphans, found.stale, kinds(found)) == (1, 0, {"b": Kind.ORPHAN})
        assert (await repair(world.subject, world.tools)).after.ok
        world.space.rows["nobody"] = {(digest("x"), 0): row}
        after = (await repair(world.subject, world.tools)).after
        assert (after.orphans, after.ok) == (1, False)  # reported only

    check(test)


def test_rows_that_no_scan_shows_are_named_and_make_nobody_else_be_written() -> None:
    async def test(world: World) -> None:
        row = next(iter(world.space.rows["a"].values()))
        world.space.rows["nobody"] = {(digest("x"), 0): row, (digest("y"), 0): row}
        world.space.rows["b"][digest("x"), 0] = row
        found = await verify(world.subject)
        assert found.orphans == 3
        assert [(finding.id, finding.reason) for finding in found.findings] == [
            ("", "rows that belong to no document: 2"),
            ("b", "1 rows that its manifest does not name"),
        ]
        mended = await repair(world.subject, world.tools)
        assert (mended.mended, mended.removed, mended.after.orphans) == (1, 1, 2)
        assert world.manifest("a").cause is Cause.CHANGE

    check(test)


class Unreadable(MemoryIndexReader):
    """Cannot read some documents' manifests."""

    def __init__(self, tables: MemoryTables, torn: tuple[Torn, ...]) -> None:
        super().__init__(tables, STREAM, 1)
        self.torn = torn

    async def scan(self, ids: Sequence[str] | None = None) -> AsyncIterator[Stored]:
        names = {torn.id for torn in self.torn}
        async for stored in super().scan(ids):
            if stored.manifest.id not in names:
                yield stored
        if torn := [torn for torn in self.torn if ids is None or torn.id in ids]:
            raise TornDocuments(STREAM, torn)


def test_what_cannot_be_read_is_stale_and_comes_from_the_newest_change_that_it_can_claim() -> None:
    async def test(world: World) -> None:
        committed = dict(world.log.stream(STREAM, 1).groups[STREAM].committed)
        await world.publish(upsert("b", "Newer still.", 9), upsert("fresh", "Ahead.", 9))
        await world.run()
        ahead = {name: world.manifest(name).version for name in ("b", "fresh")}
        world.log.stream(STREAM, 1).groups[STREAM].committed = committed  # as if the worker had not committed yet
        torn = (
            Torn("a", 1, Version(1, 0, 0, 4)),  # another document's place
            *(Torn(name, 1, version) for name, version in ahead.items()),
            Torn("gone", 1, Version(1, 0, 0, 2)),  # older than the log's
            Torn("alien", 1, Version(1, 0, 0, 0)),
        )
        subject = msgspec.structs.replace(world.subject, reader=Unreadable(world.tables, torn))
        found = await verify(subject)
        assert (found.stale, found.missing, found.orphans, found.documents) == (5, 0, 0, 3)
        assert {finding.reason for finding in found.findings} == {"its manifest cannot be read"}
        places = {finding.id: finding.place for finding in found.findings}
        assert places == {
            "a": Place(0, 0),
            "b": Place(0, ahead["b"].offset),
            "fresh": Place(0, ahead["fresh"].offset),
            "gone": Place(0, 4),
            "alien": None,
        }

    check(test)


def test_a_row_named_twice_is_a_duplicate() -> None:
    async def test(world: World) -> None:
        chunks = world.manifest("a").chunks
        world.change("a", chunks=(*chunks, chunks[0]))
        found = await verify(world.subject)
        assert (found.duplicates, found.stale) == (1, 1)
        assert (await repair(world.subject, world.tools)).after.ok

    check(test)


def test_a_dead_letter_leaves_the_older_version_expected() -> None:
    async def test(world: World) -> None:
        await world.publish(Outgoing(b"b", b'{"id":"b","op":"?"}'), Outgoing(b"new", b"{"))
        await world.run()
        found = await verify(world.subject)
        assert (found.ok, found.documents) == (True, 3)
        ledger = world.log.ledger(STREAM, 1)
        letters = await ledger.dead(frozenset({DeadState.OPEN}))
        assert len(letters) == 2
        for letter in letters:
            assert await ledger.move(letter.document, letter.version, DeadState.OPEN, DeadState.DISCARDED)
        assert (await verify(world.subject)).ok

    check(test)


def test_a_change_that_is_neither_in_the_index_nor_dead_is_told() -> None:
    async def test(world: World) -> None:
        await world.publish(Outgoing(b"b", b"{"), Outgoing(b"new", b"{"))
        await world.run()
        world.log.books(STREAM, 1).dead.clear()
        found = await verify(world.subject)
        assert kinds(found) == {"b": Kind.STALE, "new": Kind.MISSING}
        assert (await repair(world.subject, world.tools)).mended == 0

    check(test)


def test_removals_applied_ahead_and_new_versions_are_not_stale() -> None:
    async def test(world: World) -> None:
        committed = dict(world.log.stream(STREAM, 1).groups[STREAM].committed)
        await world.publish(delete("a", 9), upsert("b", "Newer still.", 9), upsert("fresh", "Ahead.", 9))
        await world.run()
        world.log.stream(STREAM, 1).groups[STREAM].committed = committed  # as if the worker had not committed yet
        assert (await verify(world.subject)).ok
        world.change("b", body_digest=digest("?"))
        assert kinds(await verify(world.subject)) == {"b": Kind.STALE}
        assert (await repair(world.subject, world.tools)).after.ok

    check(test)


def test_what_waits_behind_the_frontier_is_not_missing() -> None:
    async def test(world: World) -> None:
        await world.publish(upsert("later", "Not yet read.", 9), delete("a", 10))
        assert (await verify(world.subject)).ok

    check(test)


def test_a_record_that_left_the_log_is_unverifiable_and_one_that_never_was_is_stale() -> None:
    async def test(world: World) -> None:
        partition = world.log.stream(STREAM, 1).partitions[0]
        at = partition.offsets.index(world.manifest("a").version.offset)
        del partition.records[at], partition.offsets[at]
        found = await verify(world.subject)
        assert (found.unverifiable, found.ok, kinds(found)) == (1, True, {"a": Kind.UNVERIFIABLE})
        world.space.manifests["alien"] = msgspec.structs.replace(world.manifest("b"), id="alien")
        world.space.rows["alien"] = dict(world.space.rows["b"])
        found = await verify(world.subject)
        assert (found.unverifiable, found.stale, found.ok) == (1, 1, False)
        before = world.manifest("a")
        after = (await repair(world.subject, world.tools)).after
        assert (after.unverifiable, after.stale) == (1, 1)
        assert world.manifest("a") == before

    check(test)


def test_filtered_documents_are_expected_to_be_hidden() -> None:
    async def test(world: World) -> None:
        assert (await verify(world.subject)).documents == 2
        world.change("b", state=State.LIVE)
        assert (await verify(world.subject)).resurrected == 1
        assert (await repair(world.subject, world.tools)).after.ok
        assert world.manifest("b").state is State.FILTERED

    check(test, predicate=lambda change: change.id != "b")


def test_what_ended_by_retention_is_not_missing() -> None:
    async def test(world: World) -> None:
        world.change("b", state=State.DELETED, cause=Cause.RETENTION, chunks=())
        world.space.rows["b"].clear()
        found = await verify(world.subject)
        assert (found.ok, found.documents) == (True, 2)

    check(test)


def test_a_suspect_that_the_worker_mends_meanwhile_does_not_count() -> None:
    async def test(world: World) -> None:
        right = world.manifest("b")
        world.change("b", version=Version(1, 0, 0, 1), place=Place(0, 1))
        scans = 0

        class Reader(MemoryIndexReader):
            def scan(self, ids: Any = None) -> Any:
                nonlocal scans
                scans += 1
                if scans == 2:
                    world.space.manifests["b"] = right
                return super().scan(ids)

        subject = msgspec.structs.replace(world.subject, reader=Reader(world.tables, STREAM, 1))
        found = await verify(subject)
        assert (found.ok, found.findings, scans) == (True, (), 2)

    check(test)
