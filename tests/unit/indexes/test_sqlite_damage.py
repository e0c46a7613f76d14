"""The embedded index when somebody else wrote into its file: what cannot be read is named, and can be replaced."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import Unreachable
from headwater.indexes.port import Torn, TornDocuments
from headwater.model.generation import Floor
from headwater.model.manifest import Cap, Cause, Mark
from headwater.testing.index_scenario import (
    APPLIED,
    CONFLICT,
    STREAM,
    Index,
    at,
    opened,
    removal,
    row,
    upsert,
)
from tests.unit.indexes.test_sqlite_index import Files

UNREADABLE = ["payload = '{x'", "payload = CAST(x'ff' AS TEXT)", "state = 'gone'", "chunks = x'00'", "extra = x'00'"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


def within(path: Path, work: Callable[[Index], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(Files(path)) as index:  # type: ignore[arg-type]  # it never restarts or breaks
            await work(index)

    asyncio.run(run())


def execute(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, values).rowcount > 0


def spoil(path: Path, document: str, change: str) -> None:
    execute(path, f"UPDATE index_document SET {change} WHERE id = ?", document.encode())


async def scanned(index: Index, ids: list[str] | None = None) -> tuple[list[str], list[Torn]]:
    seen: list[str] = []
    try:
        async for stored in index.reader.scan(ids):
            seen += [stored.manifest.id]
    except TornDocuments as damage:
        return seen, list(damage.documents)
    return seen, []


@pytest.mark.parametrize("change", UNREADABLE)
def test_what_cannot_be_read_is_named_and_only_a_repair_replaces_it(path: Path, change: str) -> None:
    async def work(index: Index) -> None:
        revisions = {name: await index.put(upsert(name, at(n), [name, "x"], None)) for n, name in enumerate("abc")}
        spoil(path, "b", change)
        torn = Torn("b", revisions["b"], at(1))
        with pytest.raises(TornDocuments, match=r"document 'b' cannot be read\. `headwater verify articles --repair`"):
            await index.texts()
        assert await scanned(index) == (["a", "c"], [torn])
        assert await scanned(index, ["c", "b"]) == (["c"], [torn])
        assert await scanned(index, ["c"]) == (["c"], [])
        assert await index.reader.orphans() == 0
        with pytest.raises(TornDocuments):
            await index.writer.manifests(["a", "b"])
        for write in (upsert("b", at(7), ["y"], revisions["b"]), removal("b", at(7))):
            with pytest.raises(TornDocuments):
                await index.writer.apply([write])
        again = upsert("b", at(1), ["x", "y"], None, cause=Cause.REPAIR)
        assert await index.apply(again) == [CONFLICT]
        assert await index.apply(upsert("b", at(1), ["x", "y"], revisions["b"], cause=Cause.REPAIR)) == [APPLIED]
        assert await index.texts() == {"a": {"a", "x"}, "b": {"x", "y"}, "c": {"c", "x"}}
        assert (await scanned(index), await index.reader.orphans()) == ((["a", "b", "c"], []), 0)
        await index.whole()

    within(path, work)


def test_a_cap_outlives_a_repair_as_long_as_it_can_be_read(path: Path) -> None:
    async def work(index: Index) -> None:
        revision = await index.put(upsert("a", at(1), ["x"], None))
        cap = Cap(at(5), ())
        revision = await index.put(Mark(id="a", recipe=1, base=revision, cap=cap, time_us=1))
        spoil(path, "a", "payload = '{x'")
        await index.put(upsert("a", at(1), ["x"], revision, cause=Cause.REPAIR))
        assert (await index.writer.manifests(["a"]))["a"].cap == cap
        assert await index.texts() == {}

    within(path, work)


def test_damage_to_rows_is_named_with_their_document(path: Path) -> None:
    async def work(index: Index) -> None:
        revision = await index.put(upsert("a", at(1), ["x", "y"], None))
        await index.put(upsert("b", at(2), ["z"], None))
        for change in ("vector = x'00'", "text = CAST(x'ff' AS TEXT)"):
            execute(path, f"UPDATE index_chunk SET {change} WHERE digest = ?", row("x").digest)
            with pytest.raises(TornDocuments, match="document 'a'"):
                await index._replace(reader=Files(path).reader(STREAM, 1)).texts()
            (stored,) = [it async for it in index.reader.scan(["a"])]
            assert stored.rows.keys() == {(row("y").digest, 0)}
            revision = await index.put(upsert("a", at(1), ["x", "y"], revision, cause=Cause.REPAIR))
            assert await index.texts() == {"a": {"x", "y"}, "b": {"z"}}

    within(path, work)


def test_a_reader_that_follows_stops_at_damage_and_goes_on_after_it(path: Path) -> None:
    async def work(index: Index) -> None:
        for number in range(5):
            await index.put(upsert(f"d{number}", at(number), [str(number)], None, payload={"kind": number % 2}))
        search = index.reader.search
        assert len(await search(row("x").vector, 9, {})) == 5
        spoil(path, "d1", "payload = '[]'")  # behind what it has taken in
        with pytest.raises(TornDocuments, match="document 'd1'"):
            await search(row("x").vector, 9, {"kind": 1})
        mend = upsert("d1", at(1), ["1"], 2, cause=Cause.REPAIR, payload={"kind": 1})
        assert await index.put(mend) > 2
        base = await index.put(upsert("d2", at(10), ["2"], await index.base("d2"), payload={"kind": 0}))
        execute(path, "UPDATE index_chunk SET vector = x'00' WHERE digest = ?", row("2").digest)
        with pytest.raises(TornDocuments, match="document 'd2'"):
            await search(row("x").vector, 9, {"kind": 0})
        await index.put(upsert("d2", at(10), ["2"], base, cause=Cause.REPAIR, payload={"kind": 0}))
        hits = await search(row("x").vector, 9, {"kind": 0})
        assert {hit.manifest.id for hit in hits} == {"d0", "d2", "d4"}

    within(path, work)


def test_a_purge_removes_what_no_manifest_names(path: Path) -> None:
    async def work(index: Index) -> None:
        for number, name in enumerate(("a", "b", "torn")):
            await index.put(upsert(name, at(number), [f"{name} secret", f"{name} other"], None))
        await index.put(removal("fence", at(5)))
        execute(path, "DELETE FROM index_document WHERE id = ?", b"b")
        copy = "SELECT (key >> 32 << 32) + 90, digest, occurrence, text, vector FROM index_chunk WHERE text = 'a other'"
        execute(path, f"INSERT INTO index_chunk {copy}")
        key = "(SELECT key FROM index_document WHERE id = CAST('fence' AS BLOB)) << 32"
        execute(path, f"INSERT INTO index_chunk SELECT {key}, x'00', 0, 'stray', x'00'")
        spoil(path, "torn", "chunks = x'00'")
        assert await index.reader.orphans() == 4
        assert await index.writer.purge([]) == 0
        assert await index.reader.orphans() == 0
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            kept = {text for (text,) in connection.execute("SELECT text FROM index_chunk")}
        assert kept == {"a secret", "a other", "torn secret", "torn other"}
        assert b"b secret" not in path.read_bytes()
        assert await index.writer.purge([Floor(1, 0, 9)]) == 1

    within(path, work)


def test_a_fence_that_cannot_be_read_is_not_collected(path: Path) -> None:
    async def work(index: Index) -> None:
        await index.put(removal("a", at(1)))
        spoil(path, "a", "extra = x'00'")
        assert await index.writer.purge([Floor(1, 0, 5)]) == 0
        assert [torn.id for torn in (await scanned(index))[1]] == ["a"]

    within(path, work)


def test_a_generation_that_cannot_be_read(path: Path) -> None:
    async def work(index: Index) -> None:
        execute(path, "UPDATE index_generation SET state = 'x'")
        with pytest.raises(Unreachable, match="cannot be read"):
            await index.reader.generation()

    within(path, work)
