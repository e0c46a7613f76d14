"""The contract of embedding caches, as tests: every sentence of `headwater.embedding.cache.Cache`.

An adapter's tests subclass `CacheContract` and give it the method `harness_in`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import shake_128
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from headwater.embedding.cache import SEAL_BYTES, Cache, Held, Space, TextKey, key_of
from headwater.errors import HeadwaterError, Misconfigured, Retry, Unreachable

DIMENSIONS = 384
OURS = Space("ours", "a-model", DIMENSIONS)
#: A bound that nothing but the tests of bounds reaches, and one that these do.
ROOMY = 64 << 20
TIGHT = 2 << 20
#: A store of entries of this size may take twice the room for them.
_FEWEST = TIGHT // (2 * (4 * DIMENSIONS + SEAL_BYTES)) // 2
_BATCH = 64


class Harness(Protocol):
    """What the suite needs to know of an adapter. All that it gives works on one physical cache."""

    #: What the caches said, in the order in which they did.
    said: list[HeadwaterError]

    def cache(self, max_bytes: int = ROOMY) -> Cache:
        """Return a new handle, as another process would have it."""
        ...

    def sealed(self) -> list[bytes]:
        """Return the sealed entry of everything that is kept."""
        ...

    def replace(self, sealed: bytes, other: bytes) -> None:
        """Put something else in the place of a sealed entry, behind the adapter's back."""
        ...

    def broken(self) -> AbstractContextManager[None]:
        """Within it, the cache cannot be used."""
        ...


def vector_of(space: Space, text: str) -> bytes:
    """Return some vector of a text: another one in every space."""
    return shake_128(repr((space, text)).encode()).digest(4 * space.dimensions)


def vectors_of(space: Space, texts: Sequence[str]) -> Mapping[TextKey, bytes]:
    """Return what `put` takes for these texts."""
    return {key_of(text): vector_of(space, text) for text in texts}


def held_of(space: Space, *texts: str, tokens: int = 1) -> list[Held]:
    """Return what `hold` takes for a document: these texts, each of so many tokens."""
    return [Held(key_of(text), vector_of(space, text), tokens) for text in texts]


async def found(cache: Cache, space: Space, texts: Sequence[str]) -> list[str]:
    """Return the texts of which the cache has a vector. Fail when it has a wrong one."""
    vectors = await cache.get(space, [key_of(text) for text in texts])
    assert len(vectors) == len(texts)
    for text, vector in zip(texts, vectors, strict=True):
        assert vector in (None, vector_of(space, text)), "it has a wrong vector"
    return [text for text, vector in zip(texts, vectors, strict=True) if vector is not None]


class Contract:
    """What every test needs."""

    harness: Harness

    def harness_in(self, folder: Path) -> Harness:
        """Return the harness of a new physical cache, in this folder if it needs one."""
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _made(self, tmp_path: Path) -> None:
        self.harness = self.harness_in(tmp_path)

    def run(self, test: Callable[[Cache], Coroutine[Any, Any, None]], max_bytes: int = ROOMY) -> None:
        """Run a test on a loop of its own, with a cache that is closed after it."""

        async def scenario() -> None:
            cache = self.harness.cache(max_bytes)
            try:
                await test(cache)
            finally:
                await cache.close()

        asyncio.run(scenario())


_Contract = TypeVar("_Contract", bound=Contract)


def opened(test: Callable[[_Contract, Cache], Coroutine[Any, Any, None]]) -> Callable[[_Contract], None]:
    """Give a test an open cache. Not with `functools.wraps`: pytest would look for what is wrapped."""

    def run(self: _Contract) -> None:
        self.run(lambda cache: test(self, cache))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


class CacheContract(Contract):
    """Every sentence of the port that can be seen from outside."""

    @opened
    async def test_what_was_put_comes_back_in_the_order_asked(self, cache: Cache) -> None:
        await cache.put(OURS, vectors_of(OURS, ["a", "b", "ä水"]))
        asked = ["b", "never put", "ä水", "a", "b"]
        wanted = [vector_of(OURS, text) if text in ("a", "b", "ä水") else None for text in asked]
        assert await cache.get(OURS, [key_of(text) for text in asked]) == wanted
        assert self.harness.said == []

    @opened
    async def test_nothing_is_put_and_nothing_is_asked_for(self, cache: Cache) -> None:
        await cache.put(OURS, {})
        assert await cache.get(OURS, []) == []
        await cache.forget(OURS.tenant, [])
        assert await found(cache, OURS, ["a"]) == []
        assert self.harness.said == []

    @opened
    async def test_the_last_put_holds(self, cache: Cache) -> None:
        await cache.put(OURS, {key_of("a"): vector_of(OURS, "another")})
        await cache.put(OURS, vectors_of(OURS, ["a"]))
        assert await found(cache, OURS, ["a"]) == ["a"]
        assert len(self.harness.sealed()) == 1

    @pytest.mark.parametrize(
        "other",
        [
            Space("theirs", OURS.model, DIMENSIONS),
            Space("", OURS.model, DIMENSIONS),
            Space(OURS.tenant, "another-model", DIMENSIONS),
            Space(OURS.tenant + OURS.model[0], OURS.model[1:], DIMENSIONS),
            Space(OURS.tenant, OURS.model, DIMENSIONS // 2),
        ],
        ids=["tenant", "no-tenant", "model", "one-letter-across", "dimensions"],
    )
    def test_spaces_never_meet(self, other: Space) -> None:
        async def test(cache: Cache) -> None:
            await cache.put(OURS, vectors_of(OURS, ["a", "b"]))
            assert await found(cache, other, ["a", "b"]) == []
            await cache.put(other, vectors_of(other, ["a"]))
            assert await found(cache, other, ["a", "b"]) == ["a"]
            if other[:2] != OURS[:2]:
                assert await found(cache, OURS, ["a", "b"]) == ["a", "b"]

        self.run(test)

    @opened
    async def test_a_text_of_another_length_is_another_text(self, cache: Cache) -> None:
        await cache.put(OURS, vectors_of(OURS, ["a"]))
        collision = TextKey(key_of("a").digest, 2)
        assert await cache.get(OURS, [collision]) == [None]

    @opened
    async def test_any_flipped_bit_is_a_miss_and_the_entry_is_deleted(self, cache: Cache) -> None:
        space = OURS._replace(dimensions=8)
        for place in range(SEAL_BYTES + 4 * space.dimensions):
            await cache.put(space, vectors_of(space, ["a"]))
            (sealed,) = self.harness.sealed()
            spoilt = bytearray(sealed)
            spoilt[place] ^= 1 << place % 8
            self.harness.replace(sealed, bytes(spoilt))
            assert await found(cache, space, ["a"]) == [], f"byte {place}"
            assert self.harness.sealed() == []

    @opened
    async def test_an_entry_of_another_text_is_a_miss(self, cache: Cache) -> None:
        """Whole, sound, and in the wrong place: of this tenant's other text, or of another tenant's same one."""
        theirs = OURS._replace(tenant="theirs")
        for space, text in ((OURS, "b"), (theirs, "a")):
            await cache.put(space, vectors_of(space, [text]))
            (foreign,) = self.harness.sealed()
            await cache.put(OURS, vectors_of(OURS, ["a"]))
            (own,) = (it for it in self.harness.sealed() if it != foreign)
            self.harness.replace(own, foreign)
            assert await found(cache, OURS, ["a"]) == []
            await cache.forget(space.tenant, [key_of(text).digest])

    @pytest.mark.parametrize("spoilt", [b"", b"x", bytes(SEAL_BYTES)], ids=["empty", "a-byte", "no-vector"])
    def test_a_shortened_entry_is_a_miss(self, spoilt: bytes) -> None:
        async def test(cache: Cache) -> None:
            await cache.put(OURS, vectors_of(OURS, ["a", "b"]))
            self.harness.replace(self.harness.sealed()[0], spoilt)
            assert len(await found(cache, OURS, ["a", "b"])) == 1
            assert len(self.harness.sealed()) == 1

        self.run(test)

    @opened
    async def test_other_dimensions_are_a_mistake(self, cache: Cache) -> None:
        with pytest.raises(ValueError, match="dimensions"):
            await cache.put(OURS, {**vectors_of(OURS, ["a"]), key_of("b"): b"too short"})
        assert await found(cache, OURS, ["a"]) == []

    @opened
    async def test_no_text_is_kept(self, cache: Cache) -> None:
        await cache.put(OURS, vectors_of(OURS, ["a text of some length"]))
        assert all(b"a text" not in sealed for sealed in self.harness.sealed())

    @opened
    async def test_handles_share_it(self, cache: Cache) -> None:
        other = self.harness.cache()
        await cache.put(OURS, vectors_of(OURS, ["a", "b"]))
        assert await found(other, OURS, ["a", "b"]) == ["a", "b"]
        await other.forget(OURS.tenant, [key_of("a").digest])
        await other.close()
        assert await found(cache, OURS, ["a", "b"]) == ["b"]

    @opened
    async def test_calls_at_the_same_time_keep_apart(self, cache: Cache) -> None:
        async def one(number: int) -> None:
            texts = [f"text {number} {of}" for of in range(5)]
            await cache.put(OURS, vectors_of(OURS, texts))
            assert await found(cache, OURS, texts) == texts

        await asyncio.gather(*map(one, range(20)))
        assert len(self.harness.sealed()) == 100

    @opened
    async def test_a_tenant_forgets_its_own_of_every_model(self, cache: Cache) -> None:
        new, theirs = OURS._replace(model="new"), OURS._replace(tenant="theirs")
        for space in (OURS, new, theirs):
            await cache.put(space, vectors_of(space, ["a", "b"]))
        await cache.forget(OURS.tenant, [key_of(text).digest for text in ("a", "never put")])
        assert await found(cache, OURS, ["a", "b"]) == ["b"]
        assert await found(cache, new, ["a", "b"]) == ["b"]
        assert await found(cache, theirs, ["a", "b"]) == ["a", "b"]
        await cache.put(OURS, vectors_of(OURS, ["a"]))
        assert await found(cache, OURS, ["a"]) == ["a"]

    def test_it_is_bounded_and_keeps_what_is_asked_for(self) -> None:
        async def test(cache: Cache) -> None:
            # Three of the first batch are asked for with every other one, three are not.
            batches = [
                [f"text {at} {of}" for of in range(_BATCH)] for at in range(3 * TIGHT // (_BATCH * 4 * DIMENSIONS))
            ]
            asked, others = batches[0][:3], batches[0][3:6]
            for batch in batches:
                await cache.put(OURS, vectors_of(OURS, batch))
                assert await found(cache, OURS, asked) == asked
                assert len(self.harness.sealed()) * 4 * DIMENSIONS <= TIGHT
            assert await found(cache, OURS, others) == [], "it let go of nothing"
            assert len(self.harness.sealed()) >= _FEWEST, "it let go of too much"
            assert await found(cache, OURS, batches[-1]) == batches[-1], "it let go of the newest"

        self.run(test, TIGHT)
        assert self.harness.said == []

    @opened
    async def test_it_never_fails_the_work_and_says_why_once(self, cache: Cache) -> None:
        await cache.put(OURS, vectors_of(OURS, ["a"]))
        with self.harness.broken():
            for _ in range(3):
                assert await found(cache, OURS, ["a", "b"]) == []
            await cache.put(OURS, vectors_of(OURS, ["b"]))
            assert len(self.harness.said) == len({str(it) for it in self.harness.said}) > 0
            assert all(isinstance(it, Retry | Unreachable) for it in self.harness.said)
            with pytest.raises((Retry, Unreachable)):
                await cache.forget(OURS.tenant, [key_of("a").digest])
        assert await found(cache, OURS, ["a", "b"]) == ["a"], "it works again when what it needs is back"

    # --- what was bought ahead

    @opened
    async def test_what_is_held_is_found_until_its_document_is_released(self, cache: Cache) -> None:
        await cache.hold(OURS, "s", {"one": held_of(OURS, "a", "b", tokens=5), "two": held_of(OURS, "c", tokens=7)})
        assert await found(cache, OURS, ["a", "b", "c", "never held"]) == ["a", "b", "c"]
        assert await cache.release(OURS.tenant, "s", ["one", "unknown"]) == {"one": 10}
        assert await found(cache, OURS, ["a", "b", "c"]) == ["c"]
        assert len(self.harness.sealed()) == 1
        assert await cache.release(OURS.tenant, "s", ["one"]) == {}, "it was told once"
        assert await cache.release(OURS.tenant, "s", ["one", "two"]) == {"two": 7}
        assert self.harness.sealed() == []
        assert self.harness.said == []

    @opened
    async def test_nothing_is_held_and_nothing_released(self, cache: Cache) -> None:
        await cache.hold(OURS, "s", {})
        await cache.hold(OURS, "s", {"one": []})
        assert await cache.release(OURS.tenant, "s", []) == {}
        assert await cache.release(OURS.tenant, "s", ["one"]) == {}

    @opened
    async def test_what_cost_nothing_is_told_too(self, cache: Cache) -> None:
        await cache.hold(OURS, "s", {"one": held_of(OURS, "a", tokens=0)})
        assert await cache.release(OURS.tenant, "s", ["one"]) == {"one": 0}

    @opened
    async def test_holding_adds_and_the_same_again_counts_once(self, cache: Cache) -> None:
        """Who was stopped between holding and saying so holds once more."""
        for texts in (["a"], ["a", "b"], ["b", "b"]):
            await cache.hold(OURS, "s", {"one": held_of(OURS, *texts, tokens=3)})
        assert await found(cache, OURS, ["a", "b"]) == ["a", "b"]
        assert len(self.harness.sealed()) == 2
        assert await cache.release(OURS.tenant, "s", ["one"]) == {"one": 6}

    @opened
    async def test_documents_of_other_streams_and_tenants_hold_their_own(self, cache: Cache) -> None:
        theirs, new = OURS._replace(tenant="theirs"), OURS._replace(model="new")
        await cache.hold(OURS, "s", {"one": held_of(OURS, "a", tokens=1), "two": held_of(OURS, "a", tokens=2)})
        await cache.hold(OURS, "t", {"one": held_of(OURS, "a", tokens=4)})
        await cache.hold(theirs, "s", {"one": held_of(theirs, "a", tokens=8)})
        await cache.hold(new, "s", {"one": held_of(new, "a", tokens=16)})
        assert await cache.release(OURS.tenant, "s", ["one"]) == {"one": 17}, "of every model"
        assert await found(cache, new, ["a"]) == []
        assert await found(cache, OURS, ["a"]) == ["a"], "two more hold it"
        assert await cache.release(OURS.tenant, "t", ["one", "two"]) == {"one": 4}
        assert await found(cache, OURS, ["a"]) == ["a"]
        assert await cache.release(OURS.tenant, "s", ["one", "two"]) == {"two": 2}
        assert await found(cache, OURS, ["a"]) == []
        assert await found(cache, theirs, ["a"]) == ["a"]
        assert await cache.release("theirs", "s", ["one"]) == {"one": 8}

    @opened
    async def test_what_was_put_stays_when_it_is_released(self, cache: Cache) -> None:
        await cache.put(OURS, vectors_of(OURS, ["a"]))
        await cache.hold(OURS, "s", {"one": held_of(OURS, "a")})
        await cache.release(OURS.tenant, "s", ["one"])
        assert await found(cache, OURS, ["a"]) == ["a"]

    @opened
    async def test_what_is_forgotten_is_held_no_more_and_its_cost_is_told(self, cache: Cache) -> None:
        theirs = OURS._replace(tenant="theirs")
        await cache.hold(OURS, "s", {"one": held_of(OURS, "a", "b", tokens=3)})
        await cache.hold(theirs, "s", {"one": held_of(theirs, "a")})
        await cache.forget(OURS.tenant, [key_of("a").digest])
        assert await found(cache, OURS, ["a", "b"]) == ["b"]
        assert await found(cache, theirs, ["a"]) == ["a"]
        assert await cache.release(OURS.tenant, "s", ["one"]) == {"one": 6}

    @opened
    async def test_what_is_held_is_checked_as_anything_else(self, cache: Cache) -> None:
        await cache.hold(OURS, "s", {"one": held_of(OURS, "a", tokens=3), "two": held_of(OURS, "a")})
        sealed = self.harness.sealed()[0]
        assert len(set(self.harness.sealed())) == 1
        await cache.release(OURS.tenant, "s", ["two"])
        self.harness.replace(sealed, sealed[:-1] + bytes([sealed[-1] ^ 1]))
        await cache.hold(OURS, "s", {"two": held_of(OURS, "a")})
        assert await found(cache, OURS, ["a"]) == ["a"], "the other is sound"
        await cache.release(OURS.tenant, "s", ["two"])
        assert await found(cache, OURS, ["a"]) == []
        assert self.harness.sealed() == []
        assert await cache.release(OURS.tenant, "s", ["one"]) == {"one": 3}
        with pytest.raises(ValueError, match="dimensions"):
            await cache.hold(OURS, "s", {"one": [Held(key_of("a"), b"too short", 1)]})

    def test_what_is_held_stays_while_others_are_evicted(self) -> None:
        async def test(cache: Cache) -> None:
            held = [f"held {of}" for of in range(_BATCH)]
            await cache.hold(OURS, "s", {"one": held_of(OURS, *held)})
            for at in range(3 * TIGHT // (_BATCH * 4 * DIMENSIONS)):
                batch = [f"text {at} {of}" for of in range(_BATCH)]
                await cache.put(OURS, vectors_of(OURS, batch))
                assert await found(cache, OURS, batch) == batch
                assert len(self.harness.sealed()) * 4 * DIMENSIONS <= TIGHT
            assert await found(cache, OURS, held) == held
            assert await cache.release(OURS.tenant, "s", ["one"]) == {"one": _BATCH}

        self.run(test, TIGHT)
        assert self.harness.said == []

    def test_what_does_not_fit_is_not_held_and_costs_others_nothing(self) -> None:
        async def test(cache: Cache) -> None:
            await cache.put(OURS, vectors_of(OURS, ["put"]))
            large = held_of(OURS, *(f"text {of}" for of in range(TIGHT // (4 * DIMENSIONS))))
            half = len(large) // 4
            await cache.hold(OURS, "s", {"one": large[:half]})
            with pytest.raises(Misconfigured, match=r"cache\.size"):
                await cache.hold(OURS, "s", {"one": held_of(OURS, "more"), "two": large})
            assert await found(cache, OURS, ["put", "more", "text 0"]) == ["put", "text 0"]
            assert await cache.release(OURS.tenant, "s", ["one", "two"]) == {"one": half}
            assert await found(cache, OURS, ["put", "text 0"]) == ["put"]

        self.run(test, TIGHT)

    def test_what_is_held_takes_the_place_of_what_is_not(self) -> None:
        async def test(cache: Cache) -> None:
            for at in range(2 * TIGHT // (_BATCH * 4 * DIMENSIONS)):
                await cache.put(OURS, vectors_of(OURS, [f"text {at} {of}" for of in range(_BATCH)]))
            held = [f"held {of}" for of in range(_FEWEST)]
            await cache.hold(OURS, "s", {"one": held_of(OURS, *held)})
            assert await found(cache, OURS, held) == held
            assert len(self.harness.sealed()) * 4 * DIMENSIONS <= TIGHT

        self.run(test, TIGHT)

    @opened
    async def test_handles_share_what_is_held(self, cache: Cache) -> None:
        other = self.harness.cache()
        assert await cache.release(OURS.tenant, "s", ["one"]) == {}, "it looks again"
        await other.hold(OURS, "s", {"one": held_of(OURS, "a", tokens=3)})
        assert await found(cache, OURS, ["a"]) == ["a"]
        told = await asyncio.gather(*(it.release(OURS.tenant, "s", ["one"]) for it in (cache, other)))
        await other.close()
        assert sorted(told, key=len) == [{}, {"one": 3}], "one of them is told, and once"
        assert await found(cache, OURS, ["a"]) == []

    @opened
    async def test_what_cannot_be_held_or_released_fails(self, cache: Cache) -> None:
        await cache.hold(OURS, "s", {"one": held_of(OURS, "a")})
        with self.harness.broken():
            with pytest.raises((Retry, Unreachable)):
                await cache.hold(OURS, "s", {"one": held_of(OURS, "b")})
            with pytest.raises((Retry, Unreachable)):
                await cache.release(OURS.tenant, "s", ["one"])
        assert await cache.release(OURS.tenant, "s", ["one"]) == {"one": 1}

    @opened
    async def test_closing_twice_is_closing_once(self, cache: Cache) -> None:
        await cache.close()
        await cache.close()
