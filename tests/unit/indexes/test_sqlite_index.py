"""The embedded index beside other processes, reopened, damaged, and after deletes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from headwater.errors import Unreachable
from headwater.indexes.sqlite import SqliteCatalogue, SqliteIndexReader, SqliteIndexWriter
from headwater.model.generation import Floor
from headwater.model.manifest import Cause
from headwater.testing.index_scenario import STREAM, Index, at, generation, opened, removal, row, upsert

WRITER_PROCESS = """
import asyncio, sys
from pathlib import Path
from headwater.indexes.sqlite import SqliteIndexWriter
from headwater.model.manifest import Verdict
from headwater.testing.index_scenario import STREAM, at, removal, row, upsert

async def main(path, first, step, last):
    writer = SqliteIndexWriter(Path(path), STREAM, 1)
    for offset in range(first, last, step):
        name = f"d{offset % 3}"
        texts = [chr(65 + (offset + n) % 7) for n in range(1 + offset % 4)]
        while True:
            stored = (await writer.manifests([name])).get(name)
            held = {chunk.digest for chunk in stored.chunks} if stored else set()
            keep = [text for text in texts if row(text).digest in held]
            base = stored.revision if stored else None
            write = upsert(name, at(offset), texts, base, keep=keep) if offset % 11 else removal(name, at(offset))
            (answer,) = await writer.apply([write])
            if answer.verdict is not Verdict.CONFLICT:
                break
    await writer.close()

asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
"""


def process(path: Path, *numbers: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WRITER_PROCESS, str(path), *map(str, numbers)])


class Files:
    """A harness of the SQLite adapter."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def catalogue(self) -> SqliteCatalogue:
        return SqliteCatalogue(self.path)

    def writer(self, stream: str, number: int) -> SqliteIndexWriter:
        return SqliteIndexWriter(self.path, stream, number)

    def reader(self, stream: str, number: int) -> SqliteIndexReader:
        return SqliteIndexReader(self.path, stream, number)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.db"


def within(path: Path, work: Callable[[Index], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(Files(path)) as index:  # type: ignore[arg-type]  # it never restarts or breaks
            await work(index)

    asyncio.run(run())


def test_two_processes_write_the_same_documents(path: Path) -> None:
    async def work(index: Index) -> None:
        await index.texts()  # from here on the reader follows
        running = [process(path, 1, 2, 240), process(path, 2, 2, 241)]
        while any(one.poll() is None for one in running):
            for texts in (await index.texts()).values():
                assert 1 <= len(texts) <= 4
            await index.whole()
        assert [one.wait() for one in running] == [0, 0]
        followed = await index.texts()
        stored = [one async for one in index.reader.scan()]
        assert sorted(one.manifest.version.offset for one in stored) == [238, 239, 240]
        assert followed == {one.manifest.id: {text for text, _ in one.rows.values()} for one in stored}
        assert await index.reader.orphans() == 0

    within(path, work)


def test_a_reader_opened_anew_finds_the_same(path: Path) -> None:
    async def fill(index: Index) -> None:
        for number in range(40):
            name = f"d{number % 9}"
            await index.put(upsert(name, at(number), [f"{number}", "x"], await index.base(name)))
            followed = await index.texts()
            fresh = SqliteIndexReader(path, STREAM, 1)
            assert [hit async for hit in fresh.scan()] == [hit async for hit in index.reader.scan()]
            assert await index._replace(reader=fresh).texts() == followed
            await fresh.close()

    within(path, fill)


def test_a_generation_made_anew_is_loaded_anew(path: Path) -> None:
    async def work(index: Index) -> None:
        await index.put(upsert("a", at(1), ["x"], None))
        assert await index.texts() == {"a": {"x"}}
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE index_generation SET incarnation = 'another'")
            connection.execute("DELETE FROM index_document")
        assert await index.texts() == {}

    within(path, work)


def test_a_row_that_vanished_gives_way_to_the_next_best(path: Path) -> None:
    async def work(index: Index) -> None:
        await index.put(upsert("a", at(1), ["x", "y"], None))
        await index.put(upsert("b", at(2), ["x"], None))
        assert len(await index.reader.search(row("x").vector, 2, {})) == 2
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM index_chunk WHERE text = 'x' AND key >> 32 = 1")
        hits = await index.reader.search(row("x").vector, 1, {})
        assert [(hit.manifest.id, hit.text) for hit in hits] == [("b", "x")]

    within(path, work)


def test_orphans_are_counted_and_a_repair_removes_them(path: Path) -> None:
    async def work(index: Index) -> None:
        revision = await index.put(upsert("a", at(1), ["x"], None))
        with closing(sqlite3.connect(path)) as connection, connection:
            for key in (1 << 32 | 77, 9 << 32):
                stray = row("stray")
                connection.execute(
                    "INSERT INTO index_chunk VALUES (?, ?, 0, ?, ?)", (key, stray.digest, stray.text, stray.vector)
                )
            connection.execute("DELETE FROM index_chunk WHERE text = 'x'")
        assert await index.reader.orphans() == 2
        await index.put(upsert("a", at(1), ["x"], revision, cause=Cause.REPAIR))
        assert (await index.reader.orphans(), await index.texts()) == (1, {"a": {"x"}})
        await index.whole()
        await index.put(upsert("c", at(1), ["z"], None))
        assert await index.texts() == {"a": {"x"}, "c": {"z"}}

    within(path, work)


def test_the_matrix_takes_and_gives_room(path: Path) -> None:
    async def work(index: Index) -> None:
        for number in range(60):
            name = f"d{number % 7}"
            texts = [f"{number}.{n}" for n in range(number * 13 % 40)]
            await index.put(upsert(name, at(number), texts, await index.base(name)))
            found = await index.texts()
            assert found.get(name, set()) == set(texts)
        for number in range(7):
            await index.put(removal(f"d{number}", at(100 + number)))
        assert await index.texts() == {}

    within(path, work)


def test_deleted_bytes_are_gone_from_the_files(path: Path) -> None:
    def bytes_held() -> bytes:
        return b"".join(file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm"))

    async def work(index: Index) -> None:
        texts = [f"secret {number:04} " * 40 for number in range(60)]
        for number, text in enumerate(texts):
            payload = {"title": f"hidden {number:04}"}
            await index.put(upsert(f"d{number}", at(number), [text, f"{text}!"], None, payload=payload))
        assert b"secret 0003" in bytes_held()
        for number in range(0, 60, 2):
            await index.put(removal(f"d{number}", at(100 + number)))
        await index.put(upsert("d1", at(300), ["plain"], await index.base("d1")))
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        held = bytes_held()
        for number in range(60):
            there = number % 2 == 1 and number != 1
            assert (f"secret {number:04}".encode() in held, f"hidden {number:04}".encode() in held) == (there, there)

    within(path, work)


def test_collected_fences_leave_the_file(path: Path) -> None:
    async def work(index: Index) -> None:
        await index.put(removal("somebody@example.org", at(1)))
        assert await index.writer.purge([Floor(1, 0, 2)]) == 1
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    within(path, work)
    assert b"somebody" not in path.read_bytes()


def test_no_file(path: Path) -> None:
    async def run() -> None:
        for port in (SqliteIndexReader(path, STREAM, 1), SqliteIndexWriter(path, STREAM, 1)):
            with pytest.raises(Unreachable, match="no such file"):
                await port.generation()
            await port.close()

    asyncio.run(run())


def test_a_corrupt_file(path: Path) -> None:
    async def fill(index: Index) -> None:
        for number in range(50):
            await index.put(upsert(f"{number:03}", at(number), [f"{number} {n}" * 30 for n in range(8)], None))

    async def use() -> None:
        reader, writer = SqliteIndexReader(path, STREAM, 1), SqliteIndexWriter(path, STREAM, 1)
        with pytest.raises(Unreachable, match=r"corrupt|not a SQLite database"):
            await reader.search(row("x").vector, 10, {})
        await reader.close()
        await writer.close()

    within(path, fill)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    asyncio.run(use())
    path.write_bytes(b"no database at all, but long enough" * 40)
    asyncio.run(use())


def test_shows_its_state(path: Path) -> None:
    async def work(index: Index) -> None:
        await index.put(upsert("a", at(1), ["x"], None))
        await index.texts()
        assert "revision 1" in repr(index.reader)
        assert "index.db" in repr(index.writer)

    within(path, work)
    assert generation().number == 1
