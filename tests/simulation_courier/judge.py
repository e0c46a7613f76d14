"""The judge: looks at what came of a history, and knows nothing of how the courier works."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from headwater.embedding.lanes import Lane
from headwater.embedding.orders import Refused
from headwater.embedding.port import PROBE
from headwater.errors import Denied, Halt
from tests.simulation_courier.model import DIMENSIONS, probing, vector
from tests.simulation_courier.weather import LONG, MARKS, SPOILT, Blame, Phase
from tests.simulation_courier.world import Ended, World


def judged(world: World) -> list[str]:
    """Return what is wrong with a history, each beginning with the name of the rule that is broken."""
    return [
        *_answers(world),
        *_errors(world),
        *_wanted(world),
        *_ends(world),
        *_limits(world),
        *_cost(world),
        *_left_alone(world),
        *_outages(world),
        *_usage(world),
        *_fresh(world),
    ]


def marked(text: str) -> bool:
    """Whether the model can never embed a text."""
    return any(mark in text for mark in MARKS)


def _answers(world: World) -> Iterator[str]:
    """Each text has its own vector, or was refused; refused are exactly those that the model can never embed."""
    for ended in world.ended:
        if ended.got is None:
            continue
        if len(ended.got.answers) != len(ended.plan.texts):
            yield "vectors: another number than texts"
        for text, answer in zip(ended.plan.texts, ended.got.answers, strict=False):
            if isinstance(answer, Refused):
                yield from _refused(text, answer)
            elif marked(text):
                yield f"marked: {text!r} has a vector"
            elif not _own(text, answer):
                yield f"vectors: {text!r} has another's"


def _own(text: str, answer: bytes) -> bool:
    return len(answer) == 4 * DIMENSIONS and np.allclose(np.frombuffer(answer, "<f4"), vector(text), atol=1e-6)


def _refused(text: str, refused: Refused) -> Iterator[str]:
    if not marked(text):
        yield f"blame: {text!r} is good, and was refused: {refused.reason}"
        return
    said = "not finite" if SPOILT in text else "it cannot be embedded"
    if said not in refused.reason or refused.too_long != (LONG in text):
        yield f"words: {text!r} was refused with {refused}"


def _errors(world: World) -> Iterator[str]:
    """Orders end with an error only where the account is denied or the dimension is another."""
    halts = 0
    for ended in world.ended:
        if isinstance(ended.error, Denied):
            if world.weather.denied_s is None or ended.ended_s < world.weather.denied_s:
                yield "errors: denied though nobody was"
        elif isinstance(ended.error, Halt):
            halts += 1
            cause = {"dimension-mismatch": "dimension", "model-drift": "swapped"}[ended.error.invariant]
            if not world.model.struck[cause]:
                yield f"errors: {ended.error}"
        elif ended.error is not None:
            yield f"errors: {ended.error!r}"
    if any(seen.outcome == "dimension" for seen in world.model.seen) and not halts and not _gave_up(world):
        yield "errors: another dimension, and nobody heard of it"


def _gave_up(world: World) -> int:
    return sum(ended.given_up for ended in world.ended)


def _wanted(world: World) -> Iterator[str]:
    """Nothing is asked for that nobody waits for: not for an order that is over, has failed, or was given up."""
    waits: dict[str, list[tuple[float, float]]] = {}
    for ended in world.ended:
        for text in ended.plan.texts:
            waits.setdefault(text, []).append((ended.began_s, ended.ended_s))
    for seen in world.model.seen:
        for text in set(seen.texts) - {PROBE}:
            if not any(begin <= seen.at_s <= end for begin, end in waits.get(text, ())):
                yield f"wanted: {text!r} was asked for at {seen.at_s:.2f}, and nobody waited for it"


def _ends(world: World) -> Iterator[str]:
    if world.hang:
        yield f"ends: {world.hang} orders are not over {world.over_s - world.weather.end_s:.0f} s after the last fault"
    for left in world.left:
        yield f"ends: left behind: {left}"
    # A call may be given up before it is on its way.
    if not 0 <= sum(world.told.values()) - len(world.model.seen) <= world.told["abandoned"]:
        yield f"ends: {len(world.model.seen)} calls, {dict(world.told)} were told of"


def _limits(world: World) -> Iterator[str]:
    for wrong in world.model.wrong:
        yield f"limits: {wrong}"


def _cost(world: World) -> Iterator[str]:
    """A text is embedded once for each order of it, and once more for each answer that was of no use."""
    ordered: Counter[str] = Counter()
    lanes: dict[str, set[Lane]] = {}
    for plan in world.plans:
        ordered.update(set(plan.texts))
        for text in plan.texts:
            lanes.setdefault(text, set()).add(plan.lane)
    clean: Counter[str] = Counter()
    for seen in world.model.seen:
        if seen.clean:
            clean.update(set(seen.texts) - {PROBE})
    for text, times in clean.items():
        if times > ordered[text]:
            yield f"cost: {text!r} was embedded {times} times for {ordered[text]} orders"
    for text, them in lanes.items():
        # What was given up may still be on its way in a call of others.
        if world.model.most_at_once[text] > len(them) and not _gave_up(world):
            yield f"cost: {text!r} was asked for {world.model.most_at_once[text]} times at once"
    yield from _refusals(world, ordered)


def _refusals(world: World, ordered: Counter[str]) -> Iterator[str]:
    """Finding a culprit takes a call or two for each halving; with wrong hints, one for each text of a call."""
    if any(phase in (Phase.ILL, Phase.NOT_FINITE) for _, _, phase in world.weather.phases):
        return
    refusals = sum(seen.outcome in ("Reject", "TooLong") for seen in world.model.seen)
    refusals -= world.model.struck["too large"]
    poisons = sum(times for text, times in ordered.items() if marked(text) and SPOILT not in text)
    most = world.model.max_texts
    each = 5 + math.ceil(math.log2(most)) if world.weather.blame in (Blame.RIGHT, Blame.NONE) else 5 + most
    again = sum(not (seen.clean or seen.outcome in ("Reject", "TooLong")) for seen in world.model.seen)
    if refusals > poisons * each + again:
        yield f"cost: {refusals} refusals for {poisons} texts that are refused, in calls of {most}"


def _left_alone(world: World) -> Iterator[str]:
    """A model that is away is asked by one call at a time, at intervals that grow."""
    slowest_s = world.model.call_s * 2 + world.model.text_s * world.model.max_texts + world.weather.hang_s
    for begin, end, phase in world.weather.phases:
        named = phase is Phase.FULL and world.weather.after_s  # it is asked again when it says
        if phase not in (Phase.GONE, Phase.AWAY, Phase.FULL) or named:
            continue
        asked = sum(begin + slowest_s <= seen.at_s < end for seen in world.model.seen)
        if asked > 8 + (end - begin) / 15 + _gave_up(world):
            yield f"alone: asked {asked} times within {end - begin:.0f} s while it was {phase}"


def _outages(world: World) -> Iterator[str]:
    """What began was told to end, where everybody waited for it and got an answer."""
    broken = {ended.plan.stream for ended in world.ended if ended.got is None}
    for at, stream in enumerate(world.streams):
        if at not in broken and stream.told and stream.told[-1][1] and not world.hang:
            yield f"outages: the last that stream {at} was told is that one began"


def _usage(world: World) -> Iterator[str]:
    """Each order's figures add up, and all together are what the model counted: where nobody gave up, since what those
    paid is another's then.
    """
    if world.hang or not all(ended.got for ended in world.ended):
        return
    texts = paid = 0
    for ended in world.ended:
        assert ended.got is not None
        if sum(ended.got.tokens) != ended.got.usage.tokens:
            yield "usage: the tokens of the texts are not those of the order"
        texts += ended.got.usage.texts
        paid += ended.got.usage.calls
    useful = [seen for seen in world.model.seen if seen.clean and not probing(seen)]
    embedded = sum(len(set(seen.texts) - {PROBE}) for seen in useful)
    if texts != embedded:
        yield f"usage: {texts} texts were paid for, {embedded} were embedded"
    if paid != len(useful):
        yield f"usage: {paid} calls were paid for, {len(useful)} were answered"


def _fresh(world: World) -> Iterator[str]:
    """In calm weather a small live order waits for what is under way, and for no replay."""
    model = world.model
    if not world.weather.calm:
        return
    longest_s = 1.5 * model.call_s + model.text_s * model.max_texts
    for ended in world.ended:
        if _small_and_alone(world, ended) and ended.ended_s - ended.began_s > 6 * longest_s + 0.5:
            yield f"fresh: a live order took {ended.ended_s - ended.began_s:.1f} s, a call takes {longest_s:.2f} s"


def _small_and_alone(world: World, ended: Ended) -> bool:
    plan = ended.plan
    others = (it for it in world.ended if it.plan.lane is Lane.LIVE and it is not ended and it.ended_s > ended.began_s)
    return plan.lane is Lane.LIVE and len(plan.texts) <= 2 and not any(it.began_s < ended.ended_s for it in others)
