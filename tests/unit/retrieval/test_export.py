"""Export: a line a document, in the words of the interface, and never half a document."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest

from headwater.errors import Halt
from headwater.indexes.memory import MemoryCatalogue, MemoryIndexReader, MemoryIndexWriter, MemoryTables
from headwater.indexes.memory_tables import Key
from headwater.model.change import digest
from headwater.model.document import Fingerprints
from headwater.model.generation import Generation, GenerationState
from headwater.model.manifest import Cap, ChunkRef, Manifest, Mark, Outcome, Row, State, Write
from headwater.model.version import Place, Version
from headwater.retrieval.export import export

GENERATION = Generation(
    stream="s",
    number=1,
    state=GenerationState.SERVING,
    recipe=1,
    fingerprints=Fingerprints("t", "c", "m", "p"),
    model="hash",
    dimensions=2,
    incarnation="i",
    log_identity="l",
    log_epoch=1,
    created_us=1,
)
VECTOR = np.asarray([0.6, 0.8], "<f4").tobytes()


def manifest(name: str, offset: int, state: State = State.LIVE, chunks: tuple[ChunkRef, ...] = ()) -> Manifest:
    return Manifest(
        id=name,
        version=Version(1, 0, 0, offset),
        place=Place(0, offset),
        recipe=1,
        state=state,
        outcome=Outcome.INDEXED,
        outcome_us=1,
        body_digest=b"b",
        payload={"n": offset} if state is State.LIVE else {},
        chunks=chunks,
    )


def write(document: str, offset: int, texts: list[str]) -> Write:
    refs, rows = [], []
    for i, text in enumerate(texts):
        given = f"{document}\n\n{text}"
        name = (digest(given), texts[:i].count(text))
        refs.append(ChunkRef(*name, 10 * i, 10 * i + len(text), len(document) + 2))
        rows.append(Row(*name, given, VECTOR))
    return Write(manifest=manifest(document, offset, chunks=tuple(refs)), base=None, rows=tuple(rows))


def lines(damage: Any = None, **options: bool) -> list[dict[str, Any]]:
    async def go() -> list[dict[str, Any]]:
        tables = MemoryTables()
        await MemoryCatalogue(tables).create(GENERATION)
        writer = MemoryIndexWriter(tables, "s", 1)
        await writer.apply(
            [
                write("b", 1, ["two", "one", "two"]),
                write("a", 2, []),
                Write(manifest=manifest("gone", 3, State.DELETED), base=None),
                Write(manifest=manifest("filtered", 4, State.FILTERED), base=None),
                Mark(id="absent", recipe=1, base=None, cap=None, time_us=1),
                write("hidden", 5, ["secret"]),
            ]
        )
        space = tables._space(Key("s", 1))
        hidden = space.manifests["hidden"]
        space.manifests["hidden"] = msgspec.structs.replace(hidden, tags=("all",), cap=Cap(Version(1, 0, 0, 9), ()))
        if damage:
            damage(space)
        return [line async for line in export(MemoryIndexReader(tables, "s", 1), **options)]

    return asyncio.run(go())


def test_shown_documents_in_the_order_of_their_ids() -> None:
    first, second = lines()
    assert first == {"id": "a", "version": "1.0.0.2", "deleted": False, "payload": {"n": 2}, "chunks": []}
    assert [chunk["text"] for chunk in second["chunks"]] == ["two", "one", "two"]
    for chunk, occurrence in zip(second["chunks"], (0, 0, 1), strict=True):
        text = chunk["text"]
        name = digest(f"b\n\n{text}").hex()[:32]
        assert chunk == {"id": f"{name}.{occurrence}", "text": text, "digest": digest(text).hex()}


def test_fences_only_when_asked_for() -> None:
    fences = [line for line in lines(deleted=True) if line["deleted"]]
    assert [(line["id"], line["chunks"]) for line in fences] == [("filtered", []), ("gone", [])]
    assert len(lines(deleted=True)) == 4


def test_vectors_only_when_asked_for() -> None:
    (_, document) = lines(vectors=True)
    assert document["chunks"][0]["vector"] == pytest.approx([0.6, 0.8])
    assert msgspec.json.encode(document)


def test_half_a_document_is_never_handed_out() -> None:
    with pytest.raises(Halt, match="torn-document"):
        lines(damage=lambda space: space.rows["b"].popitem())
