"""The seal of a cached vector: what it belongs to, and that it is whole."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.embedding.cache import SEAL_BYTES, Space, TextKey, _checksum, key_of, seal, unseal

SPACE = Space("tenant", "model", 2)
TEXT = key_of("a text")
VECTOR = b"\0\0\x80\x3f\0\0\0\0"
SPACES = st.builds(Space, st.text("ab1 ", max_size=4), st.text("ab1 ", max_size=4), st.just(2))
TEXTS = st.builds(TextKey, st.sampled_from([bytes(32), bytes(31) + b"\1"]), st.integers(0, 2**40))
VECTORS = st.binary(min_size=8, max_size=8)


def test_a_key_is_the_digest_and_the_length_of_the_exact_text() -> None:
    assert key_of("ä水") == TextKey(sha256("ä水".encode()).digest(), 5)
    assert key_of("ä水 ") != key_of("ä水")
    assert key_of("half of a pair: \ud83d").bytes == 19


def test_the_seal_is_a_format_on_disk() -> None:
    # Another seal makes every kept vector a miss, which costs money: change it knowingly.
    checksum = sha256(b"6 5 2 6 tenantmodel" + TEXT.digest + VECTOR).digest()[:8]
    assert seal(SPACE, TEXT, VECTOR) == b"\6\0\0\0\0\0\0\0" + checksum + VECTOR


@given(SPACES, TEXTS, VECTORS, SPACES, TEXTS)
def test_only_what_it_was_sealed_for_opens_it(
    space: Space, text: TextKey, vector: bytes, other_space: Space, other_text: TextKey
) -> None:
    sealed = seal(space, text, vector)
    assert unseal(space, text, sealed) == vector
    opened = unseal(other_space, other_text, sealed)
    assert opened == (vector if (space, text) == (other_space, other_text) else None)


@given(VECTORS, st.integers(0, SEAL_BYTES + 7), st.integers(1, 255))
def test_a_changed_byte_shows(vector: bytes, place: int, change: int) -> None:
    sealed = bytearray(seal(SPACE, TEXT, vector))
    sealed[place] ^= change
    assert unseal(SPACE, TEXT, bytes(sealed)) is None


@pytest.mark.parametrize("size", [0, 1, 8, SEAL_BYTES, SEAL_BYTES + 7, SEAL_BYTES + 9, 100])
def test_another_size_shows(size: int) -> None:
    sealed = seal(SPACE, TEXT, VECTOR)
    assert unseal(SPACE, TEXT, (sealed + bytes(100))[:size]) is None


def test_other_dimensions_show_even_under_a_right_checksum() -> None:
    # Only a faulty writer makes such an entry.
    for vector in (VECTOR[:4], VECTOR + VECTOR[:4]):
        sealed = TEXT.bytes.to_bytes(8, "little") + _checksum(SPACE, TEXT, vector) + vector
        assert unseal(SPACE, TEXT, sealed) is None


def test_other_dimensions_are_not_sealed() -> None:
    with pytest.raises(ValueError, match="12 bytes, 2 dimensions"):
        seal(SPACE, TEXT, bytes(12))
