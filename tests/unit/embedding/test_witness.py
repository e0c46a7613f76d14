"""Probes tell models apart, tails show what is cut, and both survive being packed."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import numpy as np
import pytest

from headwater.embedding.answers import check
from headwater.embedding.port import PROBE, Embedder
from headwater.embedding.providers.hash import HashEmbedder
from headwater.embedding.providers.static import StaticEmbedder
from headwater.embedding.witness import DRIFT, PROBES, TAIL, cosine, encode, likeness, tail_pair

LENGTHS = (1, 5, 60, 224, 1_400, 8_000, 100_000)


def vectors(embedder: Embedder, *texts: str) -> list[bytes]:
    model = embedder.describe()
    return check(asyncio.run(embedder.embed(texts)), len(texts), model.name, model.dimensions)


def moved(some: list[bytes], place: int, angle: float) -> list[bytes]:
    """Turn one of the vectors by so much."""
    vector = np.frombuffer(some[place], "<f4").astype(np.float64)
    aside = np.roll(vector, 1) - (np.roll(vector, 1) @ vector) * vector
    turned = np.cos(angle) * vector + np.sin(angle) * aside / np.linalg.norm(aside)
    return [*some[:place], turned.astype("<f4").tobytes(), *some[place + 1 :]]


def test_the_probes_are_those_that_indexes_keep_the_vectors_of() -> None:
    assert sha256("\n".join(PROBES).encode()).hexdigest().startswith("c9a8c764d87984a6"), (
        "an old index would look drifted"
    )
    assert PROBES[0] == PROBE
    assert len(set(PROBES)) == 8


def test_an_unchanged_model_is_its_own_likeness() -> None:
    kept = encode(vectors(StaticEmbedder(), *PROBES))
    assert len(kept) == 2 * 8 * StaticEmbedder().describe().dimensions
    assert likeness(kept, encode(vectors(StaticEmbedder(), *PROBES))) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("place", range(8))
def test_the_probe_that_moved_the_furthest_counts(place: int) -> None:
    now = vectors(HashEmbedder(dimensions=64), *PROBES)
    kept = encode(now)
    for angle in (0.03, 0.1, 0.2, 1.0):
        assert likeness(kept, encode(moved(now, place, angle))) == pytest.approx(np.cos(angle), abs=1e-3)


def test_noise_is_no_drift_and_another_model_is() -> None:
    now = vectors(HashEmbedder(dimensions=64), *PROBES)
    noisy = now
    for place in range(8):
        noisy = moved(noisy, place, 0.04)  # a cosine of 0.9992
    assert likeness(encode(now), encode(noisy)) >= DRIFT
    assert likeness(encode(now), encode(vectors(HashEmbedder(dimensions=64), *PROBES[1:], PROBE))) < DRIFT


def test_what_was_refused_then_or_now_does_not_count() -> None:
    now = vectors(HashEmbedder(dimensions=64), *PROBES)
    without = [b"", *now[1:]]
    assert likeness(encode(without), encode(now)) == pytest.approx(1, abs=1e-6)
    assert likeness(encode(now), encode(without)) == pytest.approx(1, abs=1e-6)
    assert likeness(encode(without), encode(moved(now, 3, 1.0))) == pytest.approx(np.cos(1.0), abs=1e-3)
    assert likeness(encode([now[0], *[b""] * 7]), encode(without)) == 1


def test_damaged_probes_are_like_none() -> None:
    kept = encode(vectors(HashEmbedder(dimensions=64), *PROBES))
    assert likeness(kept[:-2], kept) < DRIFT


@pytest.mark.parametrize("characters", LENGTHS)
def test_a_pair_is_long_enough_and_differs_at_the_end_alone(characters: int) -> None:
    one, other = tail_pair(characters)
    assert len(one) == len(other) == characters
    head = min(characters - 48, characters - characters // 24)
    assert one[: max(0, head)] == other[: max(0, head)]
    assert one[-1] != other[-1] or one[-20:] != other[-20:]


@pytest.mark.parametrize("characters", LENGTHS)
@pytest.mark.parametrize("embedder", [StaticEmbedder(), HashEmbedder()], ids=["static", "hash"])
def test_who_reads_to_the_end_tells_a_pair_apart(embedder: Embedder, characters: int) -> None:
    assert cosine(*vectors(embedder, *tail_pair(characters))) < 1 - 10 * (1 - TAIL)


@pytest.mark.parametrize("characters", LENGTHS[2:])
def test_who_cuts_does_not(characters: int) -> None:
    kept = characters - max(48, characters // 24)
    one, other = tail_pair(characters)
    assert cosine(*vectors(StaticEmbedder(), one[:kept], other[:kept])) >= TAIL
