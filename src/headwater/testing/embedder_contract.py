"""The contract of embedders as tests, for whoever writes a provider.

Subclass `EmbedderContract`, give it the factory method `embedder`, and let pytest collect the subclass. A test that the
provider cannot pass is overridden with `pytest.mark.xfail(strict=True)` and a reason, so that the gap stays known. The
suite embeds some hundred short texts and a few long ones, and works on a real service as well as on a scripted one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest

from headwater.embedding.answers import check
from headwater.embedding.port import PROBE, Embedded, Embedder, Purpose
from headwater.errors import Reject

ONE = "A river carries every change from its source to the sea."
OTHER = "The keeper of the lighthouse counts the ships that pass at night."
THIRD = "Bread rises twice before it is baked."
#: Calls are cut to this where the provider takes more.
_MANY = 48


class Contract:
    """What every part of the contract needs of the provider."""

    #: The longest that one test may take, in seconds.
    patience_s = 60.0
    #: A cosine above this means the same vector: services compute in halves, and a batch's shape shows a little.
    same = 0.999
    #: The key that the embedder is given, if it is given one.
    secret = ""
    #: So many words are more than the model takes of one text, if it does not take any length.
    long_words = 20_000

    def embedder(self) -> Embedder:
        """Return a new embedder of the same model, not opened yet."""
        raise NotImplementedError

    def run(self, test: Callable[[Embedder], Coroutine[Any, Any, None]]) -> None:
        """Run a test on a loop of its own, with an embedder that is opened before and closed after it."""

        async def scenario() -> None:
            embedder = self.embedder()
            try:
                await embedder.open()
                await test(embedder)
            finally:
                await embedder.close()

        asyncio.run(asyncio.wait_for(scenario(), self.patience_s))

    def assert_same(self, found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> None:
        """Fail unless the rows are each other's, as far as the service computes alike twice."""
        assert (np.einsum("ij,ij->i", found, expected) > self.same).all()


T = TypeVar("T")
_Contract = TypeVar("_Contract", bound=Contract)


def opened(
    test: Callable[[_Contract, Embedder], Coroutine[Any, Any, None]],
) -> Callable[[_Contract], None]:
    """Give a test an opened embedder. Not with `functools.wraps`: pytest would look for what is wrapped."""

    def run(self: _Contract) -> None:
        self.run(lambda embedder: test(self, embedder))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def vectors(
    embedder: Embedder, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT
) -> npt.NDArray[np.float32]:
    """Embed, in as many calls as it takes, and return the rows in the order of the texts, at length 1."""
    most = embedder.describe().max_texts
    found = []
    for start in range(0, len(texts), most):
        some = texts[start : start + most]
        found.append(checked(embedder, await embedder.embed(some, purpose), len(some)))
    return np.concatenate(found)


async def tried(call: Awaitable[T]) -> T | Reject:
    """Return what a call returns, or the refusal that it raises."""
    try:
        return await call
    except Reject as reject:
        return reject


def checked(embedder: Embedder, answer: Embedded, asked: int) -> npt.NDArray[np.float32]:
    """Return an answer's rows in the order of the texts, after all checks of the gateway."""
    model = embedder.describe()
    found = check(answer, asked, model.name, model.dimensions)
    return np.frombuffer(b"".join(found), dtype="<f4").reshape(len(found), -1)


class DescribingContract(Contract):
    """open, describe, close."""

    @opened
    async def test_the_description_can_be_worked_with(self, embedder: Embedder) -> None:
        model = embedder.describe()
        assert model.name
        assert model.fingerprint
        assert min(model.dimensions, model.max_texts, model.max_characters) >= 1
        assert min(model.max_text_tokens or 1, model.max_call_tokens or 1) >= 1

    @opened
    async def test_the_description_never_changes(self, embedder: Embedder) -> None:
        before = embedder.describe()
        await vectors(embedder, [ONE])
        await embedder.open()
        assert embedder.describe() == before

    def test_every_embedder_of_a_model_has_its_fingerprint(self) -> None:
        found: list[str] = []

        async def note(embedder: Embedder) -> None:
            found.append(embedder.describe().fingerprint)

        self.run(note)
        self.run(note)
        assert found[0] == found[1]

    @opened
    async def test_no_secret_shows(self, embedder: Embedder) -> None:
        shown = f"{embedder!r} {embedder} {embedder.describe()!r}"
        assert not self.secret or self.secret not in shown

    @opened
    async def test_opening_at_once_is_opening_once(self, embedder: Embedder) -> None:
        await asyncio.gather(*(embedder.open() for _ in range(3)))
        await vectors(embedder, [ONE])

    @opened
    async def test_closing_twice_is_closing_once(self, embedder: Embedder) -> None:
        await embedder.close()
        await embedder.close()

    def test_what_was_never_opened_closes(self) -> None:
        async def scenario() -> None:
            await self.embedder().close()

        asyncio.run(scenario())


class EmbeddingContract(Contract):
    """embed."""

    @opened
    async def test_vectors_are_float32_of_the_dimensions_described(self, embedder: Embedder) -> None:
        answer = await embedder.embed([ONE])
        assert answer.vectors.dtype == np.float32
        assert answer.vectors.shape == (1, embedder.describe().dimensions)
        assert np.isfinite(answer.vectors).all()
        assert answer.tokens >= 0

    @opened
    async def test_no_texts_have_no_vectors(self, embedder: Embedder) -> None:
        answer = await embedder.embed([])
        assert (answer.vectors.shape, answer.index) == ((0, embedder.describe().dimensions), ())

    @opened
    async def test_the_index_says_which_text_a_vector_is_of(self, embedder: Embedder) -> None:
        forward = await vectors(embedder, [ONE, OTHER, THIRD])
        self.assert_same(await vectors(embedder, [THIRD, OTHER, ONE]), forward[::-1])
        self.assert_same(forward[:1], await vectors(embedder, [ONE]))
        assert float(forward[0] @ forward[1]) < self.same

    @opened
    async def test_a_full_call_is_taken_whole(self, embedder: Embedder) -> None:
        texts = [f"{OTHER} {number}" for number in range(min(embedder.describe().max_texts, _MANY))]
        found = await vectors(embedder, texts)
        middle = len(texts) // 2
        self.assert_same(found[middle : middle + 1], await vectors(embedder, [texts[middle]]))

    @opened
    async def test_equal_texts_have_equal_vectors(self, embedder: Embedder) -> None:
        found = await vectors(embedder, [ONE, OTHER, ONE])
        self.assert_same(found[:1], found[2:])

    @opened
    async def test_calls_at_the_same_time_keep_apart(self, embedder: Embedder) -> None:
        texts = [ONE, OTHER, THIRD, PROBE]
        alone = [await vectors(embedder, [text]) for text in texts]
        together = await asyncio.gather(*(vectors(embedder, [text]) for text in texts))
        self.assert_same(np.concatenate(together), np.concatenate(alone))

    @opened
    async def test_a_cancelled_call_harms_no_other(self, embedder: Embedder) -> None:
        calls = [asyncio.ensure_future(vectors(embedder, [text])) for text in (ONE, OTHER)]
        await asyncio.sleep(0)  # noqa: TID251 (a turn of the loop, not time)
        calls[0].cancel()
        found = await calls[1]
        self.assert_same(found, await vectors(embedder, [OTHER]))
        self.assert_same(await vectors(embedder, [ONE]), await vectors(embedder, [ONE]))

    @opened
    async def test_both_purposes_have_vectors(self, embedder: Embedder) -> None:
        for purpose in Purpose:
            found = await vectors(embedder, [ONE, OTHER], purpose)
            assert found.shape == (2, embedder.describe().dimensions)

    @opened
    async def test_the_end_of_a_long_text_counts_or_the_text_is_refused(self, embedder: Embedder) -> None:
        # A tail of an eighth moves the vector of any model further than its own noise does.
        head, tail = "water " * self.long_words, self.long_words // 8
        plain, tailed = [
            await tried(vectors(embedder, [head + word * tail])) for word in ("lighthouse ", "bread and butter ")
        ]
        if not isinstance(plain, Reject) and not isinstance(tailed, Reject):
            assert float(plain[0] @ tailed[0]) < self.same, "it was cut without a word"

    @opened
    async def test_a_refused_text_harms_no_other(self, embedder: Embedder) -> None:
        with_surrogate = "half of a pair: \ud83d"
        found = await tried(vectors(embedder, [with_surrogate]))
        assert not isinstance(found, Reject) or found.index in (None, 0)
        assert len(await vectors(embedder, [ONE])) == 1

    @pytest.mark.parametrize("empty", ["", " ", "\n\t\n"], ids=["nothing", "a-space", "line-breaks"])
    def test_an_empty_text_is_embedded_or_refused(self, empty: str) -> None:
        async def test(embedder: Embedder) -> None:
            found = await tried(vectors(embedder, [ONE, empty, OTHER]))
            if isinstance(found, Reject):
                assert found.index in (None, 1)
            else:
                self.assert_same(found[[0, 2]], await vectors(embedder, [ONE, OTHER]))

        self.run(test)

    @opened
    async def test_any_unicode_is_a_text(self, embedder: Embedder) -> None:
        texts = ["水は低きに流れる", "🎉🎉", "a\0b", "\u202eright to left", "…"]
        assert len(await vectors(embedder, texts)) == len(texts)


class EmbedderContract(DescribingContract, EmbeddingContract):
    """Every sentence of `headwater.embedding.port.Embedder` that can be seen from outside."""
