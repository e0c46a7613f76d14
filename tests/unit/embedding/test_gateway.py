"""The gateway: packs, checks every answer, finds who is to blame, and blames nobody during an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.embedding.answers import check
from headwater.embedding.courier import Courier
from headwater.embedding.gateway import Embeddings, Gateway, WhenTooLong
from headwater.embedding.orders import Refused
from headwater.embedding.port import PROBE, Description, Embedded, Purpose
from headwater.embedding.splitting import halves
from headwater.errors import Denied, Halt, RateLimited, Reject, Retry, TooLong, Unreachable
from headwater.model.receipt import Usage
from headwater.observability.signals import Event
from headwater.patience import LONGEST_PAUSE_S, Outage, Patience, pause_s
from headwater.testing.simulated import SeededDice, SimulatedClock, simulate

DIMENSIONS = 4


def vector(text: str) -> list[float]:
    """Any vector of length 1 that tells the text."""
    raw = np.asarray([1 + len(text), *(1 + text.count(sign) for sign in "abc")], np.float64)
    return [float(value) for value in raw / np.linalg.norm(raw)]


def plain(texts: Sequence[str]) -> Embedded:
    return Embedded(np.asarray([vector(text) for text in texts], np.float32), tuple(range(len(texts))), len(texts))


class Model:
    """An Embedder that answers by a script: one function a call, then the last one for ever."""

    def __init__(
        self, *script: Callable[[Sequence[str]], Embedded], max_texts: int = 8, witnessed: bool = False
    ) -> None:
        self.witnessed = witnessed
        self.script = list(script) or [plain]
        self.max_texts = max_texts
        self.calls: list[list[str]] = []
        self.closed = False

    def describe(self) -> Description:
        return Description("model", "fingerprint", DIMENSIONS, self.max_texts, 100, witnessed=self.witnessed)

    async def open(self) -> None:
        pass

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        self.calls.append(list(texts))
        answer = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        return answer(texts)

    async def close(self) -> None:
        self.closed = True


class Bench:
    """A gateway with all that it works with, in simulated time."""

    def __init__(self, model: Model, patience_s: float = 3600.0) -> None:
        self.model = model
        self.clock = SimulatedClock()
        self.notices: list[tuple[str, bool]] = []
        self.outage: Outage | None = None  # the last one that was told of
        self.calls_told: list[str] = []
        self.took_s = 0.0
        self._patience_s = patience_s
        self.patience = Patience(self.clock, SeededDice(1), self._notice)

    def _notice(self, outage: Outage | None, dependency: str) -> None:
        self.notices.append((dependency, outage is not None))
        self.outage = outage or self.outage

    def _hear(self, event: Event, fields: dict[str, Any]) -> None:
        assert event is Event.EMBEDDING_CALLED
        self.calls_told.append(fields["outcome"])

    def embed(self, *texts: str, when_too_long: WhenTooLong = WhenTooLong.DEAD) -> tuple[list[bytes | Refused], Usage]:
        async def go() -> Embeddings:
            courier = Courier(self.model, self.clock, SeededDice(1), emit=self._hear)
            gateway = Gateway(courier, "s", self.patience, when_too_long=when_too_long)
            try:
                return await asyncio.wait_for(gateway.embed(texts), self._patience_s)
            finally:
                self.took_s = self.clock.monotonic()
                await courier.close()

        embedded = simulate(go)
        assert sum(embedded.tokens) == embedded.usage.tokens
        return list(embedded.answers), embedded.usage


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
    assert bench.calls_told == ["failed", "answered"]


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


def test_an_answer_that_cannot_be_used_is_asked_for_again_before_anybody_is_suspected() -> None:
    spoilt = spoiling("b", [np.nan, 0, 0, 1])
    bench = Bench(Model(spoilt, spoilt, plain))
    assert bench.embed("a", "b")[0] == [expected("a"), expected("b")]
    assert bench.model.calls == [["a", "b"]] * 3


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
    assert bench.notices == []


@given(st.sets(st.sampled_from("abcdefgh")), st.integers(1, 8))
def test_any_poison_in_batches_of_any_size(poison: set[str], max_texts: int) -> None:
    bench = Bench(Model(refuse(*poison), max_texts=max_texts))
    answers, usage = bench.embed(*"abcdefgh")
    assert [isinstance(answer, Refused) for answer in answers] == [text in poison for text in "abcdefgh"]
    assert usage.texts >= 8 - len(poison)
    # Bisecting asks no more than twice for each level of each poison's path, and three times for the poison alone.
    assert len(bench.model.calls) <= 8 + len(poison) * (2 * 3 + 4)


def test_a_model_that_refuses_everything_is_an_outage_and_blames_nobody() -> None:
    bench = Bench(Model(raising(Reject("closed today"))), patience_s=600)
    with pytest.raises(TimeoutError):
        bench.embed("a", "b")
    assert bench.notices == [("model", True)]
    assert bench.outage is not None
    assert "refuses every text" in bench.outage.cause
    assert bench.outage.since_s == 0
    # The texts are asked for once or twice, then the probe alone, at intervals that grow.
    assert 600 / 30 < sum(call == [PROBE] for call in bench.model.calls) < 60
    assert len([call for call in bench.model.calls if call != [PROBE]]) < 10


@pytest.mark.parametrize("error", [Unreachable("model", "no such model"), Reject("no such model")])
def test_a_model_that_is_gone_for_a_while_blames_nobody(error: Exception) -> None:
    texts = [f"{sign}{at}" for sign in "abcdefgh" for at in range(10)]
    bench = Bench(Model(*[raising(error)] * 12, plain))
    assert bench.embed(*texts)[0] == [expected(text) for text in texts]
    assert bench.notices == [("model", True), ("model", False)]
    assert bench.outage is not None
    assert "no such model" in bench.outage.cause
    # One call at a time finds out whether it is back: nothing else is asked meanwhile.
    assert len(bench.model.calls) <= 12 + 10 + 12


@pytest.mark.parametrize("error", [Denied("model", "the key is refused"), Halt("x", "y"), ValueError("a defect")])
def test_what_waiting_does_not_mend_goes_up_and_is_not_tried_again(error: Exception) -> None:
    bench = Bench(Model(raising(error), plain))
    with pytest.raises(type(error)):
        bench.embed("a", "b")
    assert bench.model.calls == [["a", "b"]]


def test_a_model_that_was_ill_when_it_refused_blames_nobody() -> None:
    ill = raising(Reject("ill"))
    # It refuses the text and the probe, recovers, and is asked again.
    bench = Bench(Model(ill, ill, plain))
    assert bench.embed("a")[0] == [expected("a")]
    bench = Bench(Model(ill, plain, plain))
    assert bench.embed("a")[0] == [expected("a")]
    assert bench.model.calls == [["a"], [PROBE], ["a"]]


def test_an_outage_is_waited_out_and_told_once() -> None:
    away = raising(Retry("model", "503"))
    bench = Bench(Model(*[away] * 9, raising(Retry("model", "504", 70.0)), plain))
    assert bench.embed("a")[0] == [expected("a")]
    assert bench.notices == [("model", True), ("model", True), ("model", False)]  # once a cause
    assert bench.took_s > 70
    assert bench.patience.outages == {}


def test_a_call_that_fails_once_is_no_outage() -> None:
    bench = Bench(Model(raising(Retry("model", "503")), raising(RateLimited("model", "slow down", 1.0)), plain))
    assert bench.embed("a")[0] == [expected("a")]
    assert bench.notices == []
    assert bench.calls_told == ["failed", "rate_limited", "answered"]


def measure(texts: Sequence[str]) -> Embedded:
    """Take texts of 60 characters at most."""
    for index, text in enumerate(texts):
        if len(text) > 60:
            raise TooLong("too long", index)
    return plain(texts)


def test_a_text_that_is_too_long_is_split_into_parts_that_the_model_takes() -> None:
    bench = Bench(Model(measure))
    text = "a " * 60 + "b" * 50
    answers, usage = bench.embed("b", text, when_too_long=WhenTooLong.SPLIT)
    assert answers[0] == expected("b")
    parts = [it for call in bench.model.calls for it in call if len(it) <= 60 and it not in ("b", PROBE)]
    assert "".join(sorted(parts, key=text.find)) == text
    together = sum(len(part) * np.asarray(vector(part)) for part in parts)
    assert isinstance(answers[1], bytes)
    assert np.frombuffer(answers[1], "<f4") == pytest.approx(together / np.linalg.norm(together), abs=1e-6)
    assert usage.texts == 1 + len(parts)


def test_what_no_part_of_is_taken_stays_refused() -> None:
    def refuse_long(texts: Sequence[str]) -> Embedded:
        if texts != [PROBE]:
            raise TooLong("too long", 0)
        return plain(texts)

    assert Bench(Model(refuse_long)).embed("abcd", when_too_long=WhenTooLong.SPLIT)[0] == [Refused("too long", True)]


def test_a_stream_may_refuse_to_go_on_with_a_text_that_is_too_long() -> None:
    with pytest.raises(Halt, match="text-too-long"):
        Bench(Model(measure)).embed("a" * 61, "b", when_too_long=WhenTooLong.REFUSE)


@given(st.text(min_size=2))
def test_halves_are_the_whole_and_both_are_shorter(text: str) -> None:
    one, other = halves(text)
    assert one + other == text
    assert one
    assert other


def test_a_text_that_is_too_long_is_said_to_be() -> None:
    assert Bench(Model(measure)).embed("a" * 61, "b")[0] == [Refused("too long", too_long=True), expected("b")]


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

    assert simulate(lambda: bench.patience.call(operation)) == 7
    assert bench.patience.outages == {}
    assert bench.notices == [("index", True), ("log", True), ("index", False), ("log", False)]


def test_everything_but_an_outage_goes_up_at_once() -> None:
    for error in (Halt("x", "y"), ValueError("z"), Reject("r")):

        async def operation(error: Exception = error) -> None:
            raise error

        bench = Bench(Model())
        with pytest.raises(type(error)):
            simulate(lambda: bench.patience.call(operation))  # noqa: B023 (called at once)


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True), st.none() | st.floats(-1, 100))
def test_pauses_are_bounded_and_never_none(attempt: int, roll: float, after_s: float | None) -> None:
    pause = pause_s(attempt, roll, after_s)
    assert 0.05 <= pause <= max(LONGEST_PAUSE_S, after_s or 0)
    if after_s is not None and after_s > 0.1:
        assert pause == after_s


def drifting(texts: Sequence[str]) -> Embedded:
    """Another model behind the name: for every text a vector that is not the old one's."""
    return Embedded(plain(texts).vectors[:, ::-1].copy(), tuple(range(len(texts))), len(texts))


def test_the_probe_travels_with_every_call_and_its_cost_is_shared() -> None:
    bench = Bench(Model(raising(Retry("model", "503")), plain, max_texts=3, witnessed=True))
    answers, usage = bench.embed("a", "b", "c")
    assert answers == [expected("a"), expected("b"), expected("c")]
    assert sorted(bench.model.calls) == [["a", "b", PROBE], ["a", "b", PROBE], ["c", PROBE]]
    assert usage == Usage(calls=2, texts=3, tokens=5)


def test_another_model_behind_the_name_is_noticed_in_the_very_call() -> None:
    bench = Bench(Model(plain, drifting, max_texts=3, witnessed=True))
    with pytest.raises(Halt, match="model-drift"):
        bench.embed("a", "b", "c", "d")


class Counting(Model):
    """A model whose tokenizer is known here: a token a character."""

    counted = 0

    def count(self, text: str) -> int:
        self.counted += 1
        return len(text)


def cutting(texts: Sequence[str]) -> Embedded:
    """Read 52 characters of each text, two more than the probe has, and count no more."""
    answer = plain([text[:52] for text in texts])
    return msgspec.structs.replace(answer, tokens=sum(min(len(text), 52) for text in texts))


def test_a_service_that_counts_fewer_tokens_than_are_there_has_cut_a_text() -> None:
    (cut, whole), _ = Bench(Counting(cutting, witnessed=True)).embed("a" * 60, "b")
    assert isinstance(cut, Refused)
    assert cut.too_long
    assert "it was cut" in cut.reason
    assert whole == expected("b")
    short = Counting(lambda texts: msgspec.structs.replace(plain(texts), tokens=sum(map(len, texts))), witnessed=True)
    assert Bench(short).embed("a" * 60, "b")[0] == [expected("a" * 60), expected("b")]


def test_a_model_that_runs_here_is_not_counted_after() -> None:
    model = Counting(plain)
    Bench(model).embed("a", "b")
    assert model.counted == 0


def test_a_text_is_found_among_those_that_travel_with_the_probe() -> None:
    bench = Bench(Model(refuse("b"), witnessed=True))
    assert bench.embed("a", "b", "c")[0] == [expected("a"), Refused("too spicy"), expected("c")]


@given(st.permutations(range(5)))
def test_checking_puts_any_order_right(order: list[int]) -> None:
    texts = ["a", "bb", "ccc", "aab", "c"]
    made = plain([texts[i] for i in order])
    answer = Embedded(made.vectors, tuple(order), 5)
    assert check(answer, 5, "model", DIMENSIONS) == [expected(text) for text in texts]
