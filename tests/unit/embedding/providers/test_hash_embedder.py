"""The hashing model: exact counts, a fingerprint that follows its parts."""

from __future__ import annotations

import asyncio
from zlib import crc32

import numpy as np
import pytest

from headwater.embedding.providers import hash as room
from headwater.embedding.providers.hash import HashEmbedder


def embed(embedder: HashEmbedder, text: str) -> np.ndarray:
    row: np.ndarray = asyncio.run(embedder.embed([text])).vectors[0]
    return row


def test_a_word_stands_in_the_bucket_of_its_checksum() -> None:
    digest = crc32(b"river")
    expected = np.zeros(256, dtype=np.float32)
    expected[(digest >> 1) % 256] = -1.0 if digest & 1 else 1.0
    assert np.array_equal(embed(HashEmbedder(), "River"), expected)


def test_case_order_and_punctuation_do_not_count_but_repeats_do() -> None:
    embedder = HashEmbedder()
    assert np.array_equal(embed(embedder, "Source, river!"), embed(embedder, "river source"))
    assert not np.array_equal(embed(embedder, "river river source"), embed(embedder, "river source"))


def test_lone_surrogates_are_no_words_and_no_error() -> None:
    assert np.isclose(np.linalg.norm(embed(HashEmbedder(), "\ud800")), 1.0, atol=1e-6)


def test_tokens_are_words() -> None:
    assert asyncio.run(HashEmbedder().embed(["one two", "...", "three"])).tokens == 3


def test_a_full_cache_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(f"word{n}" for n in range(50))
    expected = embed(HashEmbedder(), text)
    monkeypatch.setattr(room, "_CACHED_WORDS_MAX", 7)
    embedder = HashEmbedder()
    assert np.array_equal(embed(embedder, text), expected)
    assert len(embedder._slots) <= 7


def test_the_fingerprint_is_stable_and_follows_the_dimensions() -> None:
    assert HashEmbedder().describe() == HashEmbedder().describe()
    assert HashEmbedder().describe().fingerprint != HashEmbedder(dimensions=64).describe().fingerprint
    # Written out, because a silent change would mix two kinds of vectors in one index.
    assert HashEmbedder().describe().fingerprint == "5fd101309334a325b9fec762bb44b27bf0c0327bcc0c9c8e6a1190e0c31c6233"


@pytest.mark.parametrize("dimensions", [0, 1, 1 << 15])
def test_impossible_dimensions_are_refused(dimensions: int) -> None:
    with pytest.raises(ValueError, match="dimensions must lie between"):
        HashEmbedder(dimensions=dimensions)
