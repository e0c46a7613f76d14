"""What the built-in models promise alike: shape, length, order, and a vector that depends on its text alone."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.embedding.port import Embedder
from headwater.embedding.providers.hash import HashEmbedder
from headwater.embedding.providers.static import StaticEmbedder

STATIC = StaticEmbedder()
HASH = HashEmbedder()
both = pytest.mark.parametrize("embedder", [STATIC, HASH], ids=["static", "hash"])
A_TEXT = "A river carries every change from its source to the sea."
# Ends of words, runs of spaces, line breaks, a written-out space mark and special tokens, and what no vocabulary holds.
PIECES = st.sampled_from(
    ["a", "the", "é", " ", "  ", "\n", "\t", "\0", "\u2581", "<s>", "</s>", "...", "水", "🎉", "\r\n"]
)
TEXTS = st.lists(PIECES, max_size=12).map("".join) | st.text(st.characters(codec="utf-8"), max_size=40)


def embed(embedder: Embedder, *texts: str) -> np.ndarray:
    answer = asyncio.run(embedder.embed(texts))
    assert answer.index == tuple(range(len(texts)))
    return answer.vectors


@both
def test_vectors_have_the_described_shape_and_length_1(embedder: Embedder) -> None:
    vectors = embed(embedder, A_TEXT, "another text", "水")
    assert vectors.shape == (3, embedder.describe().dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


@both
def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    assert embed(embedder).shape == (0, embedder.describe().dimensions)


@both
def test_rows_keep_the_order_of_the_texts(embedder: Embedder) -> None:
    forward = embed(embedder, "one", "two words", A_TEXT)
    backward = embed(embedder, A_TEXT, "two words", "one")
    assert np.array_equal(forward, backward[::-1])
    assert not np.array_equal(forward[0], forward[1])


@both
@settings(max_examples=150, deadline=None)
@given(text=TEXTS, before=st.lists(TEXTS, max_size=3), after=st.lists(TEXTS, max_size=3))
def test_batch_mates_do_not_change_a_bit(embedder: Embedder, text: str, before: list[str], after: list[str]) -> None:
    alone = embed(embedder, text)[0]
    among = embed(embedder, *before, text, *after)[len(before)]
    assert alone.tobytes() == among.tobytes()
    assert abs(float(np.linalg.norm(alone)) - 1.0) < 1e-6


@both
@pytest.mark.parametrize("text", ["", " ", "\n", "\0", "...", "—", "\u2581", "\t \t"])
def test_texts_without_words_get_a_vector_of_their_own(embedder: Embedder, text: str) -> None:
    vectors = embed(embedder, text, A_TEXT)
    assert np.isclose(np.linalg.norm(vectors[0]), 1.0, atol=1e-6)
    assert np.array_equal(vectors[0], embed(embedder, text)[0])
    assert not np.array_equal(vectors[0], vectors[1])


@both
def test_nul_and_control_characters_are_text(embedder: Embedder) -> None:
    assert np.isfinite(embed(embedder, "before\0after", "\x01\x02\x7f")).all()


@both
def test_a_megabyte_is_embedded_whole(embedder: Embedder) -> None:
    long = "river source sea " * 60_000
    start, whole, changed = embed(embedder, long[:100_000], long, long + "delta " * 20_000)
    assert float(start @ whole) > 0.999
    assert not np.array_equal(whole, changed)  # the end counts: nothing was cut off


@both
def test_calls_may_run_at_the_same_time(embedder: Embedder) -> None:
    async def together() -> list[bytes]:
        answers = await asyncio.gather(*(embedder.embed([A_TEXT, f"text {n}"] * 50) for n in range(8)))
        return [answer.vectors[0].tobytes() for answer in answers]

    assert set(asyncio.run(together())) == {embed(embedder, A_TEXT)[0].tobytes()}


@both
def test_closing_twice_is_the_same_as_once(embedder: Embedder) -> None:
    before = embed(embedder, A_TEXT)
    asyncio.run(embedder.close())
    asyncio.run(embedder.close())
    assert np.array_equal(embed(embedder, A_TEXT), before)


def test_the_models_have_different_fingerprints() -> None:
    assert STATIC.describe().fingerprint != HASH.describe().fingerprint
