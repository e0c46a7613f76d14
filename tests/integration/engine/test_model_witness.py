"""A model that is swapped behind its name, or that cuts texts, writes nothing into an index; one that is away holds up
no removal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from headwater.embedding.port import PROBE, Description, Embedded, Purpose
from headwater.embedding.witness import PROBES, tail_pair
from headwater.engine.loop import Limits
from headwater.engine.supervisor import End, Ended
from headwater.errors import Halt, TooLong
from headwater.observability.signals import Event
from tests.integration.engine.harness import STREAM, Stream, play
from tests.simulation.world import LetterRecipe

LONGEST = 500
KINDS = pytest.mark.parametrize("kind", ["memory", "sqlite"])


class LongLetters(LetterRecipe):
    longest = LONGEST


class Service:
    """Every text has a direction of its own, another one in each version of the model.

    `swapped` says of which texts; `reads` is how many characters it sees, `takes` how many it does not refuse.
    """

    def __init__(self, *, witnessed: bool = True) -> None:
        self.witnessed = witnessed
        self.swapped: Callable[[str], bool] = lambda _: False
        self.reads = 10_000
        self.takes = 10_000
        self.refused = ""
        self.calls: list[list[str]] = []
        self.back = asyncio.Event()
        self.back.set()

    def describe(self) -> Description:
        return Description("service", "letters-1", 64, 16, 100_000, witnessed=self.witnessed)

    async def open(self) -> None:
        pass

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        await self.back.wait()
        self.calls.append(list(texts))
        for index, text in enumerate(texts):
            if len(text) > self.takes or text == self.refused:
                raise TooLong("it is too long", index)
        rows = [self._row(text[: self.reads], version=int(self.swapped(text))) for text in texts]
        return Embedded(np.array(rows, np.float32), tuple(range(len(texts))), len(texts))

    def _row(self, text: str, version: int) -> list[float]:
        row = np.random.default_rng([version, *text.encode()]).normal(size=64)
        return list(row / np.linalg.norm(row))

    async def close(self) -> None:
        pass


def everything(_text: str) -> bool:
    return True


async def once(stream: Stream, service: Service) -> Ended:
    return await stream.worker(model=service, recipe=LongLetters).run(once=True)


def incident(ended: Ended) -> str:
    assert ended.end is End.HALTED, ended
    assert isinstance(ended.error, Halt)
    return ended.error.invariant


def raised(stream: Stream) -> list[object]:
    return [(fields["stream"], fields["incident"]) for event, fields in stream.events if event is Event.INCIDENT_RAISED]


@KINDS
def test_one_that_was_swapped_while_the_worker_was_down_writes_nothing(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        await stream.say(("d", "AB"))
        assert (await once(stream, service)).end is End.DONE
        before = await stream.stored()
        service.swapped = everything
        await stream.say(("d", "AC"), ("e", "B"))
        ended = await once(stream, service)
        assert incident(ended) == "model-drift"
        assert await stream.stored() == before
        assert raised(stream) == [(STREAM, "model-drift")]
        assert "sqlite:///another.db" in ended.reason
        if kind == "memory":
            assert "made 2026-01-01 00:00 UTC" in ended.reason
        service.swapped = lambda _: False
        assert (await once(stream, service)).end is End.DONE
        assert await stream.shown() == {"d": "AC", "e": "B"}

    play(kind, tmp_path, story)


@pytest.mark.parametrize("probe", PROBES[1:])
def test_any_probe_shows_it(probe: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        await once(stream, service)
        service.swapped = lambda text: text == probe
        await stream.say(("e", "B"))
        assert incident(await once(stream, service)) == "model-drift"
        assert await stream.shown() == {}

    play("memory", tmp_path, story)


@KINDS
@pytest.mark.parametrize("fault", ["swapped", "cut"])
def test_a_worker_that_has_nothing_to_do_notices_it_too(kind: str, fault: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        await stream.say(("d", "AB"))
        running = asyncio.ensure_future(stream.worker(model=service, recipe=LongLetters).run(once=False))
        await stream.until(lambda: _shows(stream, {"d": "AB"}))
        if fault == "cut":
            service.reads = LONGEST - 60
        else:
            service.swapped = lambda text: text != PROBE
        expected = "silent-truncation" if fault == "cut" else "model-drift"
        assert incident(await running) == expected
        assert raised(stream) == [(STREAM, expected)]

    play(kind, tmp_path, story)


def test_what_is_under_way_is_given_up(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        await stream.say(("d", "AB"))
        running = asyncio.ensure_future(stream.worker(model=service, recipe=LongLetters).run(once=False))
        await stream.until(lambda: _shows(stream, {"d": "AB"}))
        slow = service.embed

        async def embed(texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
            answer = await slow(texts, purpose)
            if "C" in texts:
                await stream.clock.sleep(1.5)  # a look falls into it, and there is time enough within the grace
            return answer

        service.embed = embed  # type: ignore[method-assign]  # the model as it is from now on
        service.swapped = lambda text: text in PROBES[1:]
        await stream.say(("d", "AC"))
        assert incident(await running) == "model-drift"
        assert await stream.shown() == {"d": "AB"}

    play("memory", tmp_path, story)


def test_nothing_is_embedded_before_the_first_look_is_over(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        await stream.say(("d", "AB"))
        await once(stream, service)
        quick = service.embed

        async def embed(texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
            if PROBES[1] in texts:
                await stream.clock.sleep(5)
            return await quick(texts, purpose)

        service.embed = embed  # type: ignore[method-assign]  # the model as it is from now on
        service.swapped = lambda text: text != PROBE
        await stream.say(("d", "AC"))
        assert incident(await once(stream, service)) == "model-drift"
        assert await stream.shown() == {"d": "AB"}

    play("memory", tmp_path, story)


def test_one_that_cuts_makes_no_index_and_the_recipe_may_be_changed(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        service.reads = LONGEST - 60
        await stream.say(("d", "AB"))
        ended = await once(stream, service)
        assert incident(ended) == "silent-truncation"
        assert "chunk: {maximum: ...}" in ended.reason
        assert raised(stream) == [(STREAM, "silent-truncation")]
        assert await stream.catalogue().generations(STREAM) == []
        assert (await stream.log.registry().read(STREAM)).serial == 0
        assert (await stream.worker(model=service).run(once=True)).end is End.DONE

    play("memory", tmp_path, story)


@pytest.mark.parametrize("refused", [PROBES[6], tail_pair(LONGEST)[1]], ids=["probe", "tail"])
@pytest.mark.parametrize("takes", [LONGEST - 1, LONGEST])
def test_one_that_refuses_long_texts_or_a_probe_is_honest(refused: str, takes: int, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        service.takes, service.refused = takes, refused
        await stream.say(("d", "AB"))
        for text in ("AC", "AD"):
            assert (await once(stream, service)).end is End.DONE
            await stream.say(("d", text))
        service.swapped = everything
        assert incident(await once(stream, service)) == "model-drift"

    play("memory", tmp_path, story)


@KINDS
def test_an_index_without_probes_gets_them_at_the_next_opening(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service(witnessed=False)
        await stream.say(("d", "AB"))
        await once(stream, service)
        service.witnessed = True
        await stream.say(("d", "AC"))
        assert (await once(stream, service)).end is End.DONE
        service.swapped = everything
        await stream.say(("d", "BC"))
        assert incident(await once(stream, service)) == "model-drift"
        assert await stream.shown() == {"d": "AC"}

    play(kind, tmp_path, story)


def test_a_model_whose_weights_are_pinned_is_asked_nothing(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service(witnessed=False)
        worker = stream.worker(model=service, recipe=LongLetters)
        await stream.say(("d", "AB"))
        running = asyncio.ensure_future(worker.run(once=False))
        await stream.clock.sleep(5)
        worker.stop()
        assert (await running).end is End.STOPPED
        assert service.calls == [["A", "B"]]

    play("memory", tmp_path, story)


def test_a_look_is_one_call(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        worker = stream.worker(model=service, recipe=LongLetters)
        running = asyncio.ensure_future(worker.run(once=False))
        await stream.clock.sleep(3.5)  # the first look, and one each second
        worker.stop()
        assert (await running).end is End.STOPPED
        assert len(service.calls) == 4
        assert all(set(PROBES) < set(call) for call in service.calls)

    play("memory", tmp_path, story)


def test_an_idle_worker_looks_at_once(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        await once(stream, service)
        service.calls.clear()
        worker = stream.worker(model=service, recipe=LongLetters)
        running = asyncio.ensure_future(worker.run(once=False))
        await stream.clock.sleep(0.5)
        assert len(service.calls) == 1
        worker.stop()
        await running

    play("memory", tmp_path, story)


def test_of_many_that_wait_for_a_look_one_looks(tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        await once(stream, service)
        service.calls.clear()
        service.back.clear()
        await stream.say(("d", "A"), ("e", "B"), ("f", "C"))
        worker = stream.worker(model=service, recipe=LongLetters, limits=Limits(poll_wait_s=0.05, work_documents=1))
        running = asyncio.ensure_future(worker.run(once=True))
        await stream.clock.sleep(0.5)
        service.back.set()
        assert (await running).end is End.DONE
        assert sum(PROBES[1] in call for call in service.calls) == 1

    play("memory", tmp_path, story)


@KINDS
def test_one_that_is_away_holds_up_no_removal(kind: str, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        await stream.say(("d", "AB"), ("e", "B"))
        await once(stream, service)
        service.back.clear()
        await stream.say(("d", None), ("e", "C"))
        running = asyncio.ensure_future(stream.worker(model=service, recipe=LongLetters).run(once=True))
        await stream.until(lambda: _shows(stream, {"e": "B"}))
        service.back.set()
        assert (await running).end is End.DONE
        assert await stream.shown() == {"e": "C"}

    play(kind, tmp_path, story)


@pytest.mark.parametrize("first", [True, False])
def test_a_look_that_waits_holds_up_no_stop(first: bool, tmp_path: Path) -> None:
    async def story(stream: Stream) -> None:
        service = Service()
        await once(stream, service)
        worker = stream.worker(model=service, recipe=LongLetters)
        if first:
            service.back.clear()
        running = asyncio.ensure_future(worker.run(once=False))
        await stream.clock.sleep(0.5)
        service.back.clear()
        await stream.clock.sleep(2)
        begun = stream.clock.monotonic()
        worker.stop()
        assert (await running).end is End.STOPPED
        assert stream.clock.monotonic() - begun < 0.2  # the harness's grace, in simulated time

    play("memory", tmp_path, story)


async def _shows(stream: Stream, expected: dict[str, str]) -> bool:
    return bool(await stream.catalogue().generations(STREAM)) and await stream.shown() == expected
