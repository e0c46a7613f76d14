"""The embedding cache in a SQLite file: damage, files that are no cache, its bound, and what erasure leaves."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from headwater.database import Database, Schema
from headwater.embedding.cache import SEAL_BYTES, key_of
from headwater.embedding.cache_sqlite import SqliteCache, _tidy
from headwater.errors import HeadwaterError, Retry, Unreachable
from headwater.testing.cache_contract import DIMENSIONS, OURS, ROOMY, TIGHT, found, held_of, vector_of, vectors_of

THEIRS = OURS._replace(tenant="theirs", dimensions=8)
SMALL = OURS._replace(dimensions=8)
TEXTS = [f"text {at}" for at in range(40)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def cache_at(path: Path, max_bytes: int = ROOMY, said: list[HeadwaterError] | None = None) -> SqliteCache:
    def fail(error: HeadwaterError) -> None:
        raise AssertionError(error)

    return SqliteCache(path, max_bytes, fail if said is None else said.append)


async def fill(path: Path) -> None:
    cache = cache_at(path)
    for space in (SMALL, THEIRS):
        await cache.put(space, vectors_of(space, TEXTS))
    await cache.hold(SMALL, "s", {text: held_of(SMALL, f"held {text}") for text in TEXTS})
    await cache.close()


def keys(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT key FROM cache_entry ORDER BY key")]


def test_damage_anywhere_in_the_file_gives_no_wrong_vector_and_fails_nothing(path: Path) -> None:
    run(fill(path))
    whole = path.read_bytes()
    seen = right = 0

    async def ask(place: int) -> None:
        nonlocal seen, right
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        cache = cache_at(path, said=[])
        for space in (SMALL, THEIRS):
            right += len(await found(cache, space, TEXTS))
            seen += len(TEXTS)
            await cache.put(space, vectors_of(space, ["new"]))
            await found(cache, space, [*TEXTS, "new"])
        with suppress(Retry, Unreachable):
            await cache.hold(SMALL, "s", {"new": held_of(SMALL, "held new")})
        await found(cache, SMALL, [f"held {text}" for text in TEXTS])
        with suppress(Retry, Unreachable):
            assert len(await cache.release(SMALL.tenant, "s", TEXTS)) <= len(TEXTS)
        await cache.close()
        for rest in path.parent.glob("cache.db-*"):
            rest.unlink()

    for place in range(0, len(whole), 97):
        run(ask(place))
    assert 0.5 < right / seen < 1, "it asked an empty file, or it flipped nothing that matters"


@pytest.mark.parametrize(
    "part", [b"not a database at all, but of some length" * 100, b"SQLite format 3\0" + bytes(4000)]
)
def test_a_file_that_is_no_cache_is_said_once_and_left_alone(path: Path, part: bytes) -> None:
    path.write_bytes(part)
    said: list[HeadwaterError] = []

    async def work() -> None:
        cache = cache_at(path, said=said)
        for _ in range(3):
            assert await found(cache, OURS, ["a"]) == []
            await cache.put(OURS, vectors_of(OURS, ["a"]))
        await cache.close()

    run(work())
    assert [type(it) for it in said] == [Unreachable]
    assert str(path) in str(said[0])
    assert "goes on without it" in str(said[0])
    assert path.read_bytes() == part


def test_a_folder_that_is_not_there_is_said_once(tmp_path: Path) -> None:
    said: list[HeadwaterError] = []

    async def work() -> None:
        cache = cache_at(tmp_path / "missing" / "cache.db", said=said)
        for _ in range(3):
            assert await found(cache, OURS, ["a"]) == []
        with pytest.raises(Unreachable):
            await cache.forget("ours", [bytes(32)])
        (tmp_path / "missing").mkdir()
        await cache.put(OURS, vectors_of(OURS, ["a"]))
        assert await found(cache, OURS, ["a"]) == ["a"]
        await cache.close()

    run(work())
    assert len(said) == 1


def test_a_file_that_another_process_holds_is_a_miss(path: Path) -> None:
    said: list[HeadwaterError] = []

    async def work() -> None:
        cache = cache_at(path, said=said)
        await cache.put(OURS, vectors_of(OURS, ["a"]))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await cache.put(OURS, vectors_of(OURS, ["b"]))
            assert await found(cache, OURS, ["a", "b"]) == ["a"], "reading waits for nobody"
        await cache.close()

    run(work())
    assert [type(it) for it in said] == [Retry]


def test_a_newer_format_and_the_file_of_a_log_are_not_touched(path: Path) -> None:
    async def work() -> None:
        other = Database(path, Schema("log", 1, ("CREATE TABLE log_record (key INTEGER PRIMARY KEY) STRICT",)))
        await other.read(lambda connection: None)
        await other.close()
        for cause in ("it holds a log or an index", "was made by a newer Headwater"):
            said: list[HeadwaterError] = []
            cache = cache_at(path, said=said)
            await cache.put(OURS, vectors_of(OURS, ["a"]))
            assert await found(cache, OURS, ["a"]) == []
            assert [cause in str(it) for it in said] == [True]
            await cache.close()
            assert keys(path) == []
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("DELETE FROM headwater_schema WHERE part = 'log'")
                connection.execute("UPDATE headwater_schema SET version = 99")

    run(work())


def test_an_entry_that_became_a_text_by_damage_spoils_no_other(path: Path) -> None:
    run(fill(path))
    blobs = bytes([12 + 2 * 32, 9, 12 + 2 * (4 * 8 + SEAL_BYTES)])  # the types of a row in the first space
    at = path.read_bytes().find(blobs) + 2
    damaged = bytearray(path.read_bytes())
    damaged[at] += 1
    path.write_bytes(bytes(damaged))
    with closing(sqlite3.connect(path)) as connection:
        kinds = connection.execute("SELECT count(*) FROM cache_entry WHERE typeof(sealed) = 'text'").fetchone()
    assert kinds == (1,)

    async def work() -> None:
        cache = cache_at(path)
        assert len(await found(cache, SMALL, TEXTS)) >= len(TEXTS) - 1
        await cache.close()

    run(work())


def test_a_space_that_became_anothers_by_damage_gives_nothing(path: Path) -> None:
    async def work() -> None:
        cache = cache_at(path)
        await cache.put(OURS, vectors_of(OURS, ["a"]))
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE cache_space SET tenant = 'theirs'")
        assert await found(cache, OURS._replace(tenant="theirs"), ["a"]) == []
        await cache.close()

    run(work())
    assert keys(path) == []


def test_the_file_stays_within_its_bound(path: Path) -> None:
    size = 2 * 64 * (4 * DIMENSIONS + SEAL_BYTES)  # what one call puts in, at two entries a page

    async def work() -> None:
        cache = cache_at(path, TIGHT)
        for at in range(60):
            await cache.put(OURS, vectors_of(OURS, [f"text {at} {of}" for of in range(64)]))
        await cache.close()

    run(work())
    assert TIGHT / 2 < path.stat().st_size <= TIGHT + size


def test_a_lowered_bound_is_reached_over_some_calls(path: Path) -> None:
    async def work() -> None:
        cache = cache_at(path)
        for at in range(20):
            await cache.put(SMALL, vectors_of(SMALL, [f"text {at} {of}" for of in range(256)]))
        before = len(keys(path))
        await cache.close()
        cache = cache_at(path, 200_000)
        left = []
        for at in range(4):
            await cache.put(SMALL, vectors_of(SMALL, [f"new {at}"]))
            left.append(len(keys(path)))
        await cache.close()
        assert left[0] == before + 1 - 16 * 128, "one call did too much"
        assert left[-1] < 200_000 / 48
        assert left[-1] == left[-2] + 1, "it does not end"

    run(work())


def test_reading_writes_nothing_while_there_is_room(path: Path) -> None:
    async def work() -> None:
        cache = cache_at(path)
        await cache.put(OURS, vectors_of(OURS, TEXTS))
        before = keys(path)
        assert await found(cache, OURS, TEXTS) == TEXTS
        assert keys(path) == before
        await cache.close()

    run(work())


async def crowded(path: Path) -> SqliteCache:
    cache = cache_at(path, TIGHT)
    for at in range(14):
        await cache.put(OURS, vectors_of(OURS, [f"text {at} {of}" for of in range(64)]))
    return cache


def test_what_is_asked_for_in_a_full_file_moves_up_once(path: Path) -> None:
    async def work() -> None:
        cache = await crowded(path)
        old, new = ["text 0 0", "text 0 1"], ["text 13 0"]
        first = keys(path)
        assert await found(cache, OURS, [*old, *new]) == [*old, *new]
        second = keys(path)
        assert len(set(second) - set(first)) == 2, "only what is old moves"
        assert await found(cache, OURS, [*old, *new]) == [*old, *new]
        assert keys(path) == second
        await cache.close()

    run(work())


def test_what_was_found_is_returned_though_it_cannot_be_moved_up(path: Path) -> None:
    said: list[HeadwaterError] = []

    async def work() -> None:
        await (await crowded(path)).close()
        cache = cache_at(path, TIGHT, said)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await found(cache, OURS, ["text 0 0"]) == ["text 0 0"]
        await cache.close()

    run(work())
    assert [type(it) for it in said] == [Retry]


def test_what_another_forgot_while_it_was_read_does_not_come_back(path: Path) -> None:
    async def work() -> None:
        cache, other = await crowded(path), cache_at(path, TIGHT)
        text = key_of("text 0 0")
        seen = await cache._database.read(lambda it: cache._look(it, OURS, [text]))
        assert seen.old
        await other.forget(OURS.tenant, [text.digest])
        await cache._database.write(lambda it: _tidy(it, seen))
        assert await cache.get(OURS, [text]) == [None]
        await asyncio.gather(cache.close(), other.close())

    run(work())


def stored(path: Path, part: bytes) -> bool:
    return any(part in file.read_bytes() for file in path.parent.iterdir())


def test_of_what_is_forgotten_no_byte_is_left(path: Path) -> None:
    async def work() -> None:
        cache = cache_at(path)
        await cache.put(OURS, vectors_of(OURS, TEXTS))
        text = key_of(TEXTS[7])
        traces = [vector_of(OURS, TEXTS[7])[at : at + 64] for at in (0, 700, 1472)] + [text.digest]
        assert all(stored(path, trace) for trace in traces)
        await cache.forget(OURS.tenant, [text.digest])
        assert not any(stored(path, trace) for trace in traces)
        assert stored(path, vector_of(OURS, TEXTS[8])[:64])
        await cache.close()

    run(work())


def test_erasure_that_could_not_be_completed_says_so_and_can_be_repeated(path: Path) -> None:
    async def work() -> None:
        cache = cache_at(path)
        await cache.put(OURS, vectors_of(OURS, TEXTS))
        text = key_of(TEXTS[7])
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM cache_entry").fetchone()
            with pytest.raises(Retry, match="others still read"):
                await cache.forget(OURS.tenant, [text.digest])
        await cache.forget(OURS.tenant, [text.digest])
        assert not stored(path, vector_of(OURS, TEXTS[7])[:64])
        await cache.close()

    run(work())


@pytest.mark.parametrize("by", ["release", "forget"])
def test_of_what_was_held_no_byte_is_left(path: Path, by: str) -> None:
    async def work() -> None:
        cache = cache_at(path)
        await cache.hold(OURS, "s", {"one": held_of(OURS, *TEXTS[:8]), "two": held_of(OURS, TEXTS[8])})
        gone = [key_of(text) for text in TEXTS[:8]]
        traces = [vector_of(OURS, TEXTS[7])[at : at + 64] for at in (0, 700, 1472)] + [gone[7].digest]
        assert all(stored(path, trace) for trace in traces)
        if by == "forget":
            await cache.forget(OURS.tenant, [text.digest for text in gone])
        else:
            await cache.release(OURS.tenant, "s", ["one"])
        assert not any(stored(path, trace) for trace in traces)
        assert stored(path, vector_of(OURS, TEXTS[8])[:64])
        await cache.close()

    run(work())


def test_the_ids_of_documents_are_not_stored(path: Path) -> None:
    async def work() -> None:
        cache = cache_at(path)
        await cache.hold(OURS, "s", {"a person's name": held_of(OURS, "a")})
        await cache.close()

    run(work())
    assert not stored(path, b"person")


def test_what_was_held_is_in_the_file_and_not_in_its_log_alone(path: Path) -> None:
    """The write-ahead log is not synced by a commit of a cache: a crash of the machine would take it."""

    async def work() -> None:
        cache = cache_at(path)
        await cache.hold(OURS, "s", {"one": held_of(OURS, "a")})
        assert vector_of(OURS, "a")[:64] in path.read_bytes()
        await cache.close()

    run(work())


def test_a_release_that_could_not_be_completed_loses_neither_bytes_nor_cost(path: Path) -> None:
    """Not even when another process repeats it, because this one was killed."""

    async def work() -> None:
        cache, heir = cache_at(path), cache_at(path)
        await cache.hold(OURS, "s", {"one": held_of(OURS, *TEXTS[:3], tokens=5)})
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM cache_held").fetchone()
            with pytest.raises(Retry, match="others still read"):
                await cache.release(OURS.tenant, "s", ["one"])
            assert await found(heir, OURS, TEXTS[:3]) == []
        assert stored(path, vector_of(OURS, TEXTS[2])[:64]), "or the test is about nothing"
        assert await heir.release(OURS.tenant, "s", ["one"]) == {"one": 15}
        assert not stored(path, vector_of(OURS, TEXTS[2])[:64])
        await asyncio.gather(cache.close(), heir.close())

    run(work())


def test_what_is_held_while_a_document_is_released_stays_until_the_next_time(path: Path) -> None:
    """Or its bytes would stay in the write-ahead log."""

    async def work() -> None:
        cache, other = cache_at(path), cache_at(path)
        await cache.hold(OURS, "s", {"one": held_of(OURS, "a", tokens=5)})
        emptying = cache._emptying

        async def slowly(work: Callable[[sqlite3.Connection], object]) -> None:
            await emptying(work)
            await other.hold(OURS, "s", {"one": held_of(OURS, "b", tokens=2)})

        with patch.object(cache, "_emptying", slowly):
            assert await cache.release(OURS.tenant, "s", ["one"]) == {"one": 5}
        assert await found(cache, OURS, ["a", "b"]) == ["b"]
        assert await cache.release(OURS.tenant, "s", ["one"]) == {"one": 2}
        await asyncio.gather(cache.close(), other.close())

    run(work())


def test_a_release_writes_nothing_where_nothing_is_held_for_the_document(path: Path) -> None:
    async def work() -> None:
        cache = cache_at(path)
        await cache.hold(OURS, "s", {"another": held_of(OURS, "a")})
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await cache.release(OURS.tenant, "s", ["one"]) == {}
            with pytest.raises(Retry):
                await cache.release(OURS.tenant, "s", ["another"])
        await cache.close()

    run(work())


def test_what_is_shown_of_it_names_the_file_only(path: Path) -> None:
    assert repr(cache_at(path)) == f"SqliteCache({str(path)!r})"
