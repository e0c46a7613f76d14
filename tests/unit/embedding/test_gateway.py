"""The gateway: packs, checks every answer, finds who is to blame, and blames nobody during an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.embedding.gateway import PROBE, Gateway, Refused, check
from headwater.embedding.port import Description, Embedded, Purpose
from headwater.errors import Halt, Reject, Retry
from headwater.model.receipt import Usage
from headwater.patience import LONGEST_PAUSE_S, Outage, Patience, pause_s

DIMENSIONS = 4


def vector(text: str) -> list[float]:
    """Any vector of length 1 that tells the text."""
    raw = np.asarray([1 + len(text), *(1 + text.count(sign) for sign in "abc")], np.float64)
    return [float(value) for value in raw / np.linalg.norm(raw)]


def plain(texts: Sequence[str]) -> Embedded:
    return Embedded(np.asarray([vector(text) for text in texts], np.float32), tuple(range(len(texts))), len(texts))


class Model:
    """An Embedder that answers by a script: one function a call, then the last one for ever."""

    def __init__(self, *script: Callable[[Sequence[str]], Embedded], max_texts: int = 8) -> None:
        self.script = list(script) or [plain]
        self.max_texts = max_texts
        self.calls: list[list[str]] = []
        self.closed = False

    def describe(self) -> Description:
        return Description("model", "fingerprint", DIMENSIONS, self.max_texts, 100)

    async def open(self) -> None:
        pass

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        self.calls.append(list(texts))
        answer = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        return answer(texts)

    async def close(self) -> None:
        self.closed = True


class FakeClock:
    """Time that passes only by sleeping. It does not sleep for ever."""

    def __init__(self, limit: int = 50) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []
        self.limit = limit

    def now_us(self) -> int:
        return int(self.now * 1e6)

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds
        if len(self.sleeps) >= self.limit:
            raise TimeoutError
        await asyncio.sleep(0)


class Middle:
    def random(self) -> float:
        return 0.5


class Bench:
    """A gateway with all that it works with."""

    def __init__(self, model: Model, limit: int = 50) -> None:
        self.model = model
        self.clock = FakeClock(limit)
        self.notices: list[tuple[str, bool]] = []
        self.outage: Outage | None = None  # the last one that was told of
        self.patience = Patience(self.clock, Middle(), self._notice)
        self.gateway = Gateway(model, self.patience)

    def _notice(self, outage: Outage | None, dependency: str) -> None:
        self.notices.append((dependency, outage is not None))
        self.outage = outage

    def embed(self, *texts: str) -> tuple[list[bytes | Refused], Usage]:
        return asyncio.run(self.gateway.embed(texts))


def expected(text: str) -> bytes:
    return np.asarray(vector(text), "<f4").tobytes()


def refuse(*poison: str) -> Callable[[Sequence[str]], Embedded]:
    """Refuse the whole call when it holds poison, without saying which."""

    def answer(texts: Sequence[str]) -> Embedded:
        if set(poison) & set(texts):
            raise Reject("too spicy")
        return plain(texts)

    return answer


def raising(error: Exception) -> Callable[[Sequence[str]], Embedded]:
    def answer(texts: Sequence[str]) -> Embedded:
        raise error

    return answer


def spoiling(text: str, row: Sequence[float]) -> Callable[[Sequence[str]], Embedded]:
    """Answer this vector for this text."""

    def answer(texts: Sequence[str]) -> Embedded:
        made = plain(texts)
        for i, it in enumerate(texts):
            if it == text:
                made.vectors[i] = row
        return made

    return answer


def test_in_the_order_asked_packed_and_counted() -> None:
    bench = Bench(Model(max_texts=2))
    vectors, usage = bench.embed("a", "b", "c")
    assert vectors == [expected("a"), expected("b"), expected("c")]
    assert bench.model.calls == [["a", "b"], ["c"]]
    assert usage == Usage(calls=2, texts=3, tokens=3)
    assert bench.embed() == ([], Usage())
    asyncio.run(bench.gateway.close())
    assert bench.model.closed


def test_an_answer_in_another_order_is_put_right() -> None:
    def shuffled(texts: Sequence[str]) -> Embedded:
        made = plain(texts)
        return Embedded(made.vectors[[2, 0, 1]], (2, 0, 1), 3)

    assert Bench(Model(shuffled)).embed("a", "bb", "ccc")[0] == [expected("a"), expected("bb"), expected("ccc")]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda texts: Embedded(plain(texts).vectors[:-1], (0,), 1),
        lambda texts: Embedded(plain(texts).vectors, (0, 0), 2),
        lambda texts: Embedded(plain(texts).vectors, (1, 2), 2),
        lambda texts: Embedded(plain([*texts, "more"]).vectors, (0, 1), 2),
        lambda texts: Embedded(plain(texts).vectors, (), 2),
    ],
)
def test_vectors_that_do_not_match_the_texts_are_asked_for_again(wrong: Any) -> None:
    bench = Bench(Model(wrong, plain))
    assert bench.embed("a", "b")[0] == [expected("a"), expected("b")]
    assert bench.notices == [("model", True), ("model", False)]


@pytest.mark.parametrize("shape", [(2, 3), (2, 5), (2,), (2, 4, 1)])
def test_another_dimension_halts(shape: tuple[int, ...]) -> None:
    def other(texts: Sequence[str]) -> Embedded:
        return Embedded(np.ones(shape, np.float32), (0, 1), 2)

    with pytest.raises(Halt, match="dimension-mismatch"):
        Bench(Model(other)).embed("a", "b")


@pytest.mark.parametrize(
    "row", [[np.nan, 0, 0, 1], [np.inf, 0, 0, 0], [-np.inf] * 4, [0, 0, 0, 0]], ids=["nan", "inf", "-inf", "zero"]
)
def test_a_text_without_a_usable_vector_is_refused_alone(row: list[float]) -> None:
    bench = Bench(Model(spoiling("b", row)))
    (a, b, c), _ = bench.embed("a", "b", "c")
    assert (a, c) == (expected("a"), expected("c"))
    assert isinstance(b, Refused)
    assert "not finite, or zero" in b.reason
    assert [PROBE] in bench.model.calls
    assert bench.notices == []


def test_a_vector_of_another_length_is_brought_to_one_and_no_other_is_touched() -> None:
    close = [0.5, 0.5, 0.5, 0.5001]  # within the tolerance: as the model gave it
    for others in (["a"], ["a", "long"]):

        def answer(texts: Sequence[str]) -> Embedded:
            rows = {"a": close, "long": [3.0, 0.0, 0.0, 4.0]}
            return Embedded(np.asarray([rows[text] for text in texts], np.float32), tuple(range(len(texts))), 1)

        vectors, _ = Bench(Model(answer)).embed(*others)
        assert vectors[0] == np.asarray(close, "<f4").tobytes()
    assert vectors[1] == np.asarray([0.6, 0, 0, 0.8], "<f4").tobytes()


@pytest.mark.parametrize("poison", [["b"], ["a", "h"], ["d", "e"], list("abcdefgh")])
def test_poison_is_found_and_nothing_else_is_blamed(poison: list[str]) -> None:
    bench = Bench(Model(refuse(*poison)))
    answers, _ = bench.embed(*"abcdefgh")
    for text, answer in zip("abcdefgh", answers, strict=True):
        assert answer == (Refused("too spicy") if text in poison else expected(text))
    assert bench.clock.sleeps == []


@given(st.sets(st.sampled_from("abcdefgh")), st.integers(1, 8))
def test_any_poison_in_batches_of_any_size(poison: set[str], max_texts: int) -> None:
    bench = Bench(Model(refuse(*poison), max_texts=max_texts))
    answers, usage = bench.embed(*"abcdefgh")
    assert [isinstance(answer, Refused) for answer in answers] == [text in poison for text in "abcdefgh"]
    assert usage.texts >= 8 - len(poison)
    # Bisecting asks no more than twice for each level of each poison's path, and three times for the poison alone.
    assert len(bench.model.calls) <= 8 + len(poison) * (2 * 3 + 3)


def test_a_model_that_refuses_everything_is_an_outage_and_blames_nobody() -> None:
    bench = Bench(Model(raising(Reject("closed today"))), limit=20)
    with pytest.raises(TimeoutError):
        bench.embed("a", "b")
    assert bench.notices == [("model", True)]
    assert bench.outage is not None
    assert "refuses every text" in bench.outage.cause
    assert bench.outage.since_s == 0
    assert len(bench.clock.sleeps) == 20
    assert all(pause <= LONGEST_PAUSE_S for pause in bench.clock.sleeps)


def test_a_model_that_was_ill_when_it_refused_blames_nobody() -> None:
    ill = raising(Reject("ill"))
    # It refuses the text and the probe, recovers, and is asked again; then it falls ill for the text alone.
    bench = Bench(Model(ill, ill, plain))
    assert bench.embed("a")[0] == [expected("a")]
    bench = Bench(Model(ill, plain, plain))
    assert bench.embed("a")[0] == [expected("a")]
    assert bench.model.calls == [["a"], [PROBE], ["a"]]


def test_an_outage_is_waited_out_and_told_once() -> None:
    away = raising(Retry("model", "503"))
    bench = Bench(Model(away, away, raising(Retry("model", "429", 7.0)), plain))
    assert bench.embed("a")[0] == [expected("a")]
    assert bench.notices == [("model", True), ("model", True), ("model", False)]  # once a cause
    assert bench.clock.sleeps == [pytest.approx(0.075), pytest.approx(0.15), 7.0]
    assert bench.patience.outages == {}


def test_an_outage_in_the_middle_of_bisecting_loses_nothing() -> None:
    refusing, away = refuse("b"), raising(Retry("model", "503"))
    bench = Bench(Model(refusing, away, refusing, away, refusing, refusing, away, refusing))
    answers, _ = bench.embed("a", "b", "c")
    assert answers == [expected("a"), Refused("too spicy"), expected("c")]


def test_two_dependencies_that_were_away_are_both_back() -> None:
    bench = Bench(Model())
    errors: list[Exception] = [Retry("index", "busy"), Retry("log", "full")]

    async def operation() -> int:
        if errors:
            raise errors.pop(0)
        return 7

    assert asyncio.run(bench.patience.call(operation)) == 7
    assert bench.patience.outages == {}
    assert bench.notices == [("index", True), ("log", True), ("index", False), ("log", False)]


def test_everything_but_an_outage_goes_up_at_once() -> None:
    for error in (Halt("x", "y"), ValueError("z"), Reject("r")):

        async def operation(error: Exception = error) -> None:
            raise error

        bench = Bench(Model())
        with pytest.raises(type(error)):
            asyncio.run(bench.patience.call(operation))
        assert bench.clock.sleeps == []


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True), st.none() | st.floats(-1, 100))
def test_pauses_are_bounded_and_never_none(attempt: int, roll: float, after_s: float | None) -> None:
    pause = pause_s(attempt, roll, after_s)
    assert 0.05 <= pause <= max(LONGEST_PAUSE_S, after_s or 0)
    if after_s is not None and after_s > 0.1:
        assert pause == after_s


@given(st.permutations(range(5)))
def test_checking_puts_any_order_right(order: list[int]) -> None:
    texts = ["a", "bb", "ccc", "aab", "c"]
    made = plain([texts[i] for i in order])
    answer = Embedded(made.vectors, tuple(order), 5)
    assert check(answer, 5, "model", DIMENSIONS) == [expected(text) for text in texts]
