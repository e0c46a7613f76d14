"""The query path: one model only, and a shape that scripts can rest on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from headwater.embedding.port import Description, Embedded, Purpose
from headwater.embedding.providers.hash import HashEmbedder
from headwater.errors import Halt, Reject, Retry
from headwater.indexes.port import Hit
from headwater.model.change import digest
from headwater.model.document import Fingerprints
from headwater.model.generation import Generation, GenerationState
from headwater.model.manifest import ChunkRef, Manifest, Outcome, State
from headwater.model.version import Place, Version
from headwater.retrieval.search import Retriever, chunk_id, hit_shape

CHUNK = ChunkRef(digest("Title\n\nSome text."), 2, 10, 20, 7)
MANIFEST = Manifest(
    id="a",
    version=Version(1, 0, 3, 14),
    place=Place(3, 14),
    recipe=1,
    state=State.LIVE,
    outcome=Outcome.INDEXED,
    outcome_us=1,
    body_digest=b"",
    payload={"title": "Title"},
    chunks=(CHUNK,),
)
HIT = Hit(MANIFEST, CHUNK, "Some text.", 0.5)


class ScriptedIndex:
    """An IndexReader that only answers searches."""

    def __init__(self, model: str, dimensions: int = 8) -> None:
        self.model = model
        self.dimensions = dimensions
        self.asked: list[tuple[bytes, int, Mapping[str, Any]]] = []

    async def search(self, vector: bytes, k: int, where: Mapping[str, Any]) -> list[Hit]:
        self.asked.append((vector, k, where))
        return [HIT]

    def scan(self, ids: Sequence[str] | None = None) -> Any:
        raise NotImplementedError

    async def orphans(self) -> int:
        return 0

    async def generation(self) -> Generation:
        return Generation(
            stream="s",
            number=1,
            state=GenerationState.SERVING,
            recipe=1,
            fingerprints=Fingerprints("t", "c", self.model, "p"),
            model="hash",
            dimensions=self.dimensions,
            incarnation="i",
            log_identity="l",
            log_epoch=1,
            created_us=1,
        )

    async def close(self) -> None:
        return


class Scripted:
    """An Embedder that answers what it is told."""

    def __init__(self, answer: Embedded | Exception) -> None:
        self.answer = answer

    def describe(self) -> Description:
        return Description("scripted", "m", 8, 10, 1000)

    async def open(self) -> None:
        return

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self) -> None:
        return


def answer(row: Any) -> Embedded:
    return Embedded(vectors=np.asarray([row], np.float32), index=(0,), tokens=1)


def test_it_embeds_the_query_and_searches() -> None:
    embedder = HashEmbedder(dimensions=8)
    index = ScriptedIndex(embedder.describe().fingerprint)
    hits = asyncio.run(Retriever(index, embedder).search("rivers", 3, {"lang": "en"}))
    assert hits == [HIT]
    ((vector, k, where),) = index.asked
    assert (k, where) == (3, {"lang": "en"})
    assert np.linalg.norm(np.frombuffer(vector, "<f4")) == pytest.approx(1)


def test_another_model_halts_before_anything_is_embedded() -> None:
    index = ScriptedIndex("another")
    with pytest.raises(Halt) as halted:
        asyncio.run(Retriever(index, Scripted(RuntimeError("not to be called"))).search("rivers", 3, {}))
    assert halted.value.invariant == "model-drift"
    assert "'hash'" in str(halted.value)
    assert "'scripted'" in str(halted.value)
    assert index.asked == []


@pytest.mark.parametrize(
    ("given", "raised"),
    [
        (answer([np.nan] * 8), Reject),
        (answer([0.0] * 8), Reject),
        (answer([1.0] * 4), Halt),
        (Embedded(vectors=np.ones((2, 8), np.float32), index=(0, 1), tokens=1), Retry),
        (Retry("model", "away"), Retry),
    ],
)
def test_no_unusable_vector_reaches_the_index(given: Embedded | Exception, raised: type[Exception]) -> None:
    index = ScriptedIndex("m")
    with pytest.raises(raised):
        asyncio.run(Retriever(index, Scripted(given)).search("rivers", 3, {}))
    assert index.asked == []


def test_a_long_vector_is_brought_to_length_one() -> None:
    index = ScriptedIndex("m")
    asyncio.run(Retriever(index, Scripted(answer([2.0] * 8))).search("rivers", 3, {}))
    assert np.linalg.norm(np.frombuffer(index.asked[0][0], "<f4")) == pytest.approx(1)


def test_the_shape_of_a_hit() -> None:
    assert hit_shape(HIT) == {
        "id": "a",
        "chunk": digest("Title\n\nSome text.").hex()[:32] + ".2",
        "text": "Some text.",
        "score": 0.5,
        "version": "1.0.3.14",
        "payload": {"title": "Title"},
    }
    assert msgspec.json.decode(msgspec.json.encode(hit_shape(HIT))) == hit_shape(HIT)
    assert chunk_id(CHUNK) == hit_shape(HIT)["chunk"]
