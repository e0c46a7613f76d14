"""The contract of indexes, as tests: every sentence of `headwater.indexes.port`, and the named schedules.

An adapter's tests subclass `IndexContract` and give it a fixture `harness`. What an adapter's capabilities say it does
not do is expected to fail, strictly: a gap that has been closed must be taken out of the table.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest

from headwater.errors import Halt, HeadwaterError
from headwater.model.change import digest
from headwater.model.document import Fingerprints
from headwater.model.generation import Floor, Position
from headwater.model.manifest import Cap, Cause, ChunkRef, Mark, Outcome, State, Write
from headwater.model.version import Place, Version
from headwater.testing.index_scenario import (
    APPLIED,
    CONFLICT,
    REJECTED,
    STALE,
    STREAM,
    ContractBase,
    Index,
    at,
    generation,
    mark,
    removal,
    row,
    scenario,
    scenario_of,
    upsert,
)
from headwater.testing.index_schedules import ScheduleContract


class WriterContract(ContractBase):
    """The sentences of `IndexWriter`."""

    @scenario
    async def test_manifests_of_those_that_have_one(self, index: Index) -> None:
        """Every field comes back as it was written."""
        write = upsert(
            "ä/1",
            Version(2, 3, 4, 5),
            ["one", "two"],
            None,
            place=Place(6, 7),
            recipe=9,
            cause=Cause.POLICY,
            outcome=Outcome.PAYLOAD_ONLY,
            payload_digest=b"p",
            access_digest=b"a",
            payload={"title": "Ü", "n": [1, 2.5, None, True], "deep": {"x": ["y"]}},
            tags=("x", "y"),
        )
        revision = await index.put(write)
        found = await index.writer.manifests(["ä/1", "none"])
        assert found == {"ä/1": msgspec.structs.replace(write.manifest, revision=revision)}

    @scenario
    async def test_a_cap_comes_back(self, index: Index) -> None:
        """A mark of a document that was never there leaves a manifest that carries only the cap."""
        cap = Cap(at(5), ("staff",))
        revision = await index.put(mark("a", None, cap))
        found = (await index.writer.manifests(["a"]))["a"]
        assert (found.state, found.cap, found.revision) == (State.ABSENT, cap, revision)
        assert await index.texts() == {}

    @scenario
    async def test_vectors_of_any_generation_with_this_model(self, index: Index) -> None:
        """Not of another model, and not of another stream."""
        other_model = Fingerprints("text", "chunk", "another", "payload")
        second = generation(2)
        foreign = [generation(3, fingerprints=other_model), generation(1, stream="another")]
        for made in (second, *foreign):
            await index.catalogue.create(made)
            writer = index.harness.writer(made.stream, made.number)
            await writer.apply([upsert("d", at(1), [f"{made.stream} {made.number}"], None)])
            await writer.close()
        await index.put(upsert("d", at(1), ["here"], None))
        texts = ["here", "articles 2", "articles 3", "another 1", "nowhere"]
        found = await index.writer.vectors([digest(text) for text in texts])
        assert found == {digest(text): row(text).vector for text in ("here", "articles 2")}

    @scenario
    async def test_answers_stand_in_the_order_asked(self, index: Index) -> None:
        """With revisions that no write ever repeats."""
        first = await index.writer.apply([upsert("b", at(1), ["x"], None), upsert("a", at(2), ["x"], None)])
        second = await index.writer.apply(
            [upsert("a", at(1), ["y"], first[1].revision), removal("b", at(3)), upsert("c", at(4), ["z"], 99)]
        )
        assert [answer.verdict for answer in (*first, *second)] == [APPLIED, APPLIED, STALE, APPLIED, CONFLICT]
        revisions = [answer.revision for answer in (*first, *second) if answer.verdict is APPLIED]
        assert len(set(revisions)) == 3
        assert (await index.writer.generation()).next_revision > max(revisions)

    @scenario
    async def test_one_write_a_document(self, index: Index) -> None:
        """Two writes of a document in one call are a defect."""
        with pytest.raises(ValueError, match="one write a document"):
            await index.apply(upsert("a", at(1), ["x"], None), removal("a", at(2)))

    @scenario
    async def test_a_repeat_is_harmless(self, index: Index) -> None:
        """The same call again changes nothing."""
        call: list[Write | Mark] = [
            upsert("a", at(1), ["x", "y"], None),
            removal("b", at(2)),
            mark("c", None, Cap(at(3), ())),
        ]
        await index.writer.apply(call)
        before = [stored async for stored in index.reader.scan()]
        assert APPLIED not in await index.apply(*call)
        assert [stored async for stored in index.reader.scan()] == before

    @scenario
    async def test_positions_move_with_what_is_settled(self, index: Index) -> None:
        """Never back, and not while a write has to be done again."""
        write = upsert("a", at(1), ["x"], None)
        await index.writer.apply([write], [Position(0, 1, 10, b"ten"), Position(1, 1, 4)])
        await index.writer.apply([write], [Position(0, 1, 8), Position(1, 2, 0)])
        expected = (Position(0, 1, 10, b"ten"), Position(1, 2, 0))
        assert (await index.reader.generation()).positions == expected
        await index.writer.apply([upsert("a", at(5), ["x"], None)], [Position(0, 1, 20)])
        assert (await index.reader.generation()).positions == expected
        await index.writer.apply([], [Position(0, 1, 30)])
        assert (await index.reader.generation()).positions[0].offset == 30

    @scenario_of(made=generation(freeze="token"))
    async def test_a_frozen_generation_refuses(self, index: Index) -> None:
        """Removals too."""
        assert await index.apply(upsert("a", at(1), ["x"], None), removal("b", at(1))) == [REJECTED, REJECTED]

    @scenario_of(made=generation(least_recipe=2))
    async def test_an_old_recipe_is_refused(self, index: Index) -> None:
        """With the reason (C8)."""
        (answer,) = await index.writer.apply([upsert("a", at(1), ["x"], None)])
        assert (answer.verdict, bool(answer.reason)) == (REJECTED, True)
        assert await index.apply(upsert("a", at(1), ["x"], None, recipe=2)) == [APPLIED]

    @scenario
    async def test_a_chunk_that_nobody_holds_halts(self, index: Index) -> None:
        """And nothing of the call is applied."""
        await index.put(upsert("a", at(1), ["x"], None))
        torn = upsert("a", at(2), ["x", "y"], await index.base("a"), keep=["x", "y"])
        with pytest.raises(Halt, match="torn-document"):
            await index.apply(upsert("b", at(1), ["z"], None), torn)
        assert await index.texts() == {"a": {"x"}}

    @scenario
    async def test_a_vector_of_another_size_halts(self, index: Index) -> None:
        """A model's vectors never mix with another's."""
        write = upsert("a", at(1), ["x"], None)
        wrong = msgspec.structs.replace(write, rows=(write.rows[0]._replace(vector=b"\0" * 12),))
        with pytest.raises(Halt, match="dimension-mismatch"):
            await index.apply(wrong)

    @scenario
    async def test_rows_come_and_go_with_the_manifest(self, index: Index) -> None:
        """Kept rows stay, dropped ones leave, a text that occurs twice has two rows."""
        await index.put(upsert("a", at(1), ["x", "y"], None))
        twice = upsert("a", at(2), ["y", "z"], await index.base("a"), keep=["y"])
        again = row("z", occurrence=1)
        chunk = ChunkRef(again.digest, 1, 9, 10, 0)
        manifest = msgspec.structs.replace(twice.manifest, chunks=(*twice.manifest.chunks, chunk))
        await index.put(msgspec.structs.replace(twice, manifest=manifest, rows=(*twice.rows, again)))
        (stored,) = [stored async for stored in index.reader.scan()]
        assert stored.rows[again.digest, 1] == (again.text, again.vector)
        assert await index.texts() == {"a": {"y", "z"}}
        await index.whole()
        await index.put(removal("a", at(3)))
        assert (await index.texts(), await index.reader.orphans()) == ({}, 0)

    @scenario
    async def test_equal_versions(self, index: Index) -> None:
        """A later recipe's pass, a repair and a removal all leave no row behind; the removal is final."""
        await index.put(upsert("a", at(1), ["x"], None))
        await index.put(upsert("a", at(1), ["y"], await index.base("a"), recipe=2, cause=Cause.POLICY))
        await index.put(upsert("a", at(1), ["y"], await index.base("a"), recipe=2, cause=Cause.REPAIR))
        await index.whole()
        await index.put(removal("a", at(1), recipe=2, cause=Cause.RETENTION))
        assert await index.apply(upsert("a", at(1), ["x"], await index.base("a"), recipe=3)) == [STALE]
        await index.whole()
        assert await index.reader.orphans() == 0

    @scenario
    async def test_purge_collects_what_lies_below_its_own_floor(self, index: Index) -> None:
        """Strictly below, natively versioned, and not capped by something later."""
        fences: list[tuple[str, Version, dict[str, Any]]] = [
            ("below", at(4), {}),
            ("filtered", at(3), {"state": State.FILTERED}),
            ("on it", at(5), {}),
            ("other epoch", at(1, epoch=2), {}),
            ("other partition", at(1, partition=1), {}),
            ("ordered", at(1, order=7), {}),
            ("copy", at(1), {"place": Place(0, 90)}),
            ("capped", at(2), {}),
        ]
        for name, version, fields in fences:
            await index.put(removal(name, version, **fields))
        await index.put(mark("capped", await index.base("capped"), Cap(at(9), ())))
        await index.put(upsert("live", at(1), ["x"], None))
        assert await index.writer.purge([Floor(1, 0, 5)]) == 2
        left = {stored.manifest.id async for stored in index.reader.scan()}
        assert left == {"on it", "other epoch", "other partition", "ordered", "copy", "capped", "live"}
        assert await index.writer.purge([Floor(1, 0, 2), Floor(1, 1, 9)]) == 1
        assert (await index.writer.generation()).floors == (Floor(1, 0, 5), Floor(1, 1, 9))
        assert await index.apply(upsert("below", at(4), ["x"], None)) == [STALE]

    @scenario
    async def test_writers_beside_each_other(self, index: Index) -> None:
        """Of two writers that build on one manifest, one wins."""
        other = index.harness.writer(STREAM, 1)
        writes = [upsert("a", at(1), ["x", "y"], None), upsert("a", at(2), ["y", "z"], None)]
        answers = await asyncio.gather(index.writer.apply(writes[:1]), other.apply(writes[1:]))
        assert sorted(answer[0].verdict is APPLIED for answer in answers) == [False, True]
        await index.whole()
        await other.close()

    @scenario_of(needs="durable_on_ack")
    async def test_what_was_acknowledged_is_there_after_a_restart(self, index: Index) -> None:
        """With positions."""
        await index.writer.apply([upsert("a", at(1), ["x"], None)], [Position(0, 1, 2)])
        index.harness.restart()
        reader = index.harness.reader(STREAM, 1)
        try:
            assert (await reader.generation()).positions == (Position(0, 1, 2),)
            assert [hit.text for hit in await reader.search(row("x").vector, 1, {})] == ["x"]
        finally:
            await reader.close()

    @scenario_of(needs="atomic_document")
    async def test_a_write_that_failed_left_nothing(self, index: Index) -> None:
        """Not even rows that readers hide."""
        with index.harness.broken(), pytest.raises(HeadwaterError):
            await index.put(upsert("a", at(1), ["x"], None))
        assert await index.reader.orphans() == 0


class ReaderContract(ContractBase):
    """The sentences of `IndexReader` and `IndexCatalogue`."""

    @scenario
    async def test_the_best_come_first(self, index: Index) -> None:
        """By cosine; ties by the document's bytes, then by place."""
        await index.put(upsert("b", at(1), ["x", "y", "z"], None))
        await index.put(upsert("é", at(2), ["x"], None))
        await index.put(upsert("Z", at(3), ["w", "x"], None))
        hits = await index.reader.search(row("x").vector, 3, {})
        assert [(hit.manifest.id, hit.text) for hit in hits] == [("Z", "x"), ("b", "x"), ("é", "x")]
        assert [hit.score for hit in hits] == pytest.approx([1, 1, 1], abs=1e-6)
        everything = await index.reader.search(row("x").vector, 100, {})
        assert [hit.score for hit in everything] == sorted((hit.score for hit in everything), reverse=True)
        assert len(everything) == 6
        best_one = await index.reader.search(row("x").vector, 1, {})
        assert [hit.manifest.id for hit in best_one] == ["Z"]
        assert await index.reader.search(row("x").vector, 0, {}) == []

    @scenario
    async def test_a_hit_is_the_documents_own_piece(self, index: Index) -> None:
        """Without what enriching put before it."""
        write = upsert("a", at(1), ["Title: body"], None)
        chunk = ChunkRef(digest("Title: body"), 0, 30, 34, 7)
        await index.put(
            msgspec.structs.replace(write, manifest=msgspec.structs.replace(write.manifest, chunks=(chunk,)))
        )
        (hit,) = await index.reader.search(row("q").vector, 5, {})
        assert (hit.text, hit.chunk) == ("body", chunk)
        expected = float(np.dot(*(np.frombuffer(row(text).vector, "<f4") for text in ("q", "Title: body"))))
        assert hit.score == pytest.approx(expected, abs=1e-6)

    @scenario_of(needs="native_filter")
    async def test_a_filter_chooses_before_the_ranking(self, index: Index) -> None:
        """By equality, or by what a list contains; it follows what is written."""

        async def found(**where: Any) -> list[str]:
            return [hit.manifest.id for hit in await index.reader.search(row("x").vector, 1, where)]

        await index.put(upsert("a", at(1), ["x"], None, payload={"lang": "en", "n": 1}))
        await index.put(upsert("b", at(2), ["y"], None, payload={"lang": ["de", "fr"], "n": True}))
        assert (await found(lang="fr"), await found(lang=["de", "fr"]), await found(lang="es")) == (["b"], ["b"], [])
        assert (await found(n=1), await found(n=True), await found(lang="en", n=2)) == (["a"], ["b"], [])
        await index.put(upsert("a", at(3), ["x"], await index.base("a"), keep=["x"], payload={"lang": "es"}))
        assert (await found(lang="en"), await found(lang="es"), await found()) == ([], ["a"], ["a"])

    @scenario
    async def test_a_query_of_another_size_halts(self, index: Index) -> None:
        """It was made by another model."""
        with pytest.raises(Halt, match="dimension-mismatch"):
            await index.reader.search(b"\0" * 8, 3, {})

    @scenario_of(needs="reads_own_writes")
    async def test_sees_what_was_acknowledged(self, index: Index) -> None:
        """Each time, by another writer too."""
        other = index.harness.writer(STREAM, 1)
        for number in range(1, 20):
            writer = other if number % 2 else index.writer
            base = await index.base("a")
            await writer.apply([upsert("a", at(number), [f"{number}", "x"], base, keep=["x"] if base else [])])
            assert await index.texts() == {"a": {f"{number}", "x"}}
        await other.close()

    @scenario
    async def test_sees_a_document_come_back_after_its_fence_was_collected(self, index: Index) -> None:
        """A reader that never saw the fence forgets the old content all the same."""
        await index.put(upsert("a", at(1), ["old"], None))
        assert await index.texts() == {"a": {"old"}}
        await index.put(removal("a", at(2)))
        await index.writer.purge([Floor(1, 0, 3)])
        assert await index.texts() == {}
        await index.put(upsert("b", at(4), ["new"], None))
        assert await index.texts() == {"b": {"new"}}

    @scenario
    async def test_scan_goes_by_the_ids_bytes(self, index: Index) -> None:
        """Over every document or these, fences too, each once."""
        names = [f"{number:03}" for number in range(150)] + ["ä", "Z", "z"]
        await index.apply(*(upsert(name, at(n), [name, "x"], None) for n, name in enumerate(names)))
        await index.put(removal("007", at(900)))
        everything = [stored async for stored in index.reader.scan()]
        assert [stored.manifest.id for stored in everything] == sorted(names, key=str.encode)
        assert everything[7].manifest.state is State.DELETED
        assert everything[9].rows == {(made.digest, 0): (made.text, made.vector) for made in map(row, ["009", "x"])}
        some = [stored.manifest.id async for stored in index.reader.scan(["ä", "none", "Z", "Z"])]
        assert some == ["Z", "ä"]

    @scenario
    async def test_catalogue(self, index: Index) -> None:
        """Makes a generation once, lists by number, adopts a log, and that again."""
        made = generation(2, positions=(Position(0, 1, 5, b"d"),), floors=(Floor(1, 0, 2),), least_recipe=4, recipe=4)
        assert await index.catalogue.create(made)
        assert not await index.catalogue.create(msgspec.structs.replace(made, incarnation="another"))
        assert await index.catalogue.generations(STREAM) == [generation(), made]
        for _ in range(2):
            await index.catalogue.adopt(STREAM, 2, "another log", 3)
        adopted = msgspec.structs.replace(made, log_identity="another log", log_epoch=3)
        assert await index.catalogue.generations(STREAM) == [generation(), adopted]
        await index.catalogue.adopt(STREAM, 2, "a late one's", 2)
        assert await index.catalogue.generations(STREAM) == [generation(), adopted]
        assert await index.catalogue.generations("none") == []
        await index.put(upsert("a", at(1), ["x"], None))
        second = index.harness.reader(STREAM, 2)
        assert [hit async for hit in second.scan()] == []
        await second.close()

    @scenario
    async def test_the_first_probes_are_kept(self, index: Index) -> None:
        """Each generation's own, whoever looks later, and whatever is made beside it."""
        other = index.harness.catalogue()
        await other.create(generation(2))
        assert await other.probes(STREAM, 2) == b""
        first = b"first" * 4_000
        assert await index.catalogue.keep_probes(STREAM, 1, first) == first
        assert await other.keep_probes(STREAM, 2, b"second") == b"second"
        for catalogue in (index.catalogue, other):
            assert await catalogue.keep_probes(STREAM, 1, b"later") == first
            assert await catalogue.probes(STREAM, 1) == first
            assert await catalogue.probes(STREAM, 9) == b""
            assert await catalogue.probes("another", 1) == b""
        with pytest.raises(HeadwaterError, match="no index generation 9"):
            await other.keep_probes(STREAM, 9, b"")
        await other.close()

    @scenario
    async def test_a_generation_that_is_not_there(self, index: Index) -> None:
        """Is said to be missing."""
        writer = index.harness.writer(STREAM, 9)
        with pytest.raises(HeadwaterError, match="no index generation 9"):
            await writer.apply([upsert("a", at(1), ["x"], None)])
        await writer.close()


class IndexContract(WriterContract, ReaderContract, ScheduleContract):
    """The whole contract of an index."""
