"""The contract finds embedders that break it: each lie, and the test that sees it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from headwater.embedding.port import Description, Embedded, Embedder, Purpose
from headwater.embedding.providers.hash import HashEmbedder
from headwater.errors import HeadwaterError, Retry
from headwater.testing.embedder_contract import EmbedderContract

SECRET = "sk-secret"


class Lying:
    """An embedder that keeps the contract; each subclass breaks one sentence of it."""

    made = 0

    def __init__(self) -> None:
        self.inner = HashEmbedder(dimensions=16)
        type(self).made += 1

    async def open(self) -> None:
        await self.inner.open()

    def describe(self) -> Description:
        return self.inner.describe()

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        return await self.inner.embed(texts, purpose)

    async def close(self) -> None:
        await self.inner.close()


class Cutting(Lying):
    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        return await self.inner.embed([text[:2000] for text in texts])


class Reordering(Lying):
    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        answer = await self.inner.embed(texts)
        return Embedded(answer.vectors[::-1], answer.index, answer.tokens)


class Wider(Lying):
    def describe(self) -> Description:
        return msgspec.structs.replace(self.inner.describe(), dimensions=17)


class Shifting(Lying):
    def describe(self) -> Description:
        return msgspec.structs.replace(self.inner.describe(), fingerprint=f"model {self.made}")


class Telling(Lying):
    def __repr__(self) -> str:
        return f"Telling(key={SECRET})"


class Hasty(Lying):
    """Retries what no retry mends."""

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        if any(len(text) > 50_000 for text in texts):
            raise Retry("hasty", "it answered 500")
        return await self.inner.embed(texts)


class Mixing(Lying):
    """Depends on what stands beside a text."""

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        return await self.inner.embed([f"{text} {len(texts)} {texts[0]}" for text in texts])


class Doubles(Lying):
    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        answer = await self.inner.embed(texts)
        return Embedded(answer.vectors.astype("f8"), answer.index, answer.tokens)


CAUGHT = [
    (Cutting, "test_the_end_of_a_long_text_counts_or_the_text_is_refused"),
    (Reordering, "test_the_index_says_which_text_a_vector_is_of"),
    (Wider, "test_vectors_are_float32_of_the_dimensions_described"),
    (Wider, "test_both_purposes_have_vectors"),
    (Shifting, "test_every_embedder_of_a_model_has_its_fingerprint"),
    (Telling, "test_no_secret_shows"),
    (Hasty, "test_the_end_of_a_long_text_counts_or_the_text_is_refused"),
    (Mixing, "test_a_full_call_is_taken_whole"),
    (Doubles, "test_vectors_are_float32_of_the_dimensions_described"),
]


def contract(kind: type[Lying]) -> EmbedderContract:
    class Suite(EmbedderContract):
        secret = SECRET

        def embedder(self) -> Embedder:
            return kind()

    return Suite()


@pytest.mark.parametrize(("kind", "test"), CAUGHT, ids=[f"{kind.__name__}-{test}" for kind, test in CAUGHT])
def test_a_lie_is_found(kind: type[Lying], test: str) -> None:
    getattr(contract(Lying), test)()
    with pytest.raises((AssertionError, HeadwaterError)):
        getattr(contract(kind), test)()
