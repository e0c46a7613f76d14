"""One history: streams that order texts of one courier, in both lanes, and what came of each order."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from headwater.embedding.budget import Budget
from headwater.embedding.courier import Courier
from headwater.embedding.gateway import Embeddings, Gateway
from headwater.embedding.lanes import Lane, Policy
from headwater.embedding.port import PROBE
from headwater.observability.signals import Event
from headwater.patience import Outage, Patience
from headwater.testing.simulated import SeededDice, SimulatedClock, simulate
from tests.simulation_courier.model import WINDOW_S, CountingModel, FaultyModel, vector
from tests.simulation_courier.weather import MARKS, SPOILT, Weather, draw

#: An order that is not over so long after the last fault hangs; longer where there was much to do, since retries beyond
#: their budget go one a second: one for each text, and as many as a text without a usable vector takes.
LATEST_S = 300.0
EACH_S = 1.0
SPOILT_S = 15.0


@dataclass
class Plan:
    """One order: when, of what, and after how long whoever ordered gives up."""

    stream: int
    at_s: float
    lane: Lane
    texts: list[str]
    gives_up_s: float | None


@dataclass
class Ended:
    """What came of an order: `got`, or an error, or nobody waited for it any more."""

    plan: Plan
    got: Embeddings | None = None
    error: BaseException | None = None
    given_up: bool = False
    began_s: float = 0.0
    ended_s: float = 0.0


class Stream:
    """One stream with its patience; `told` are the outages that began and ended."""

    def __init__(self, name: str, courier: Courier, seed: int) -> None:
        self.told: list[tuple[str, bool]] = []
        clock = SimulatedClock()
        self.patience = Patience(clock, SeededDice(seed), self._notice)
        self.gateways = {lane: Gateway(courier, name, self.patience, lane=lane) for lane in Lane}

    def _notice(self, outage: Outage | None, dependency: str) -> None:
        self.told.append((dependency, outage is not None))


@dataclass
class World:
    """A history while it is played, and after."""

    seed: int
    weather: Weather
    model: FaultyModel
    courier: Courier
    plans: list[Plan]
    streams: list[Stream]
    ended: list[Ended] = field(default_factory=list)
    hang: int = 0
    told: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)  # what was not let go of
    over_s: float = 0.0

    @property
    def latest_s(self) -> float:
        last = max(plan.at_s for plan in self.plans)
        texts = [text for plan in self.plans for text in plan.texts]
        spoilt = sum(SPOILT in text for text in texts)
        return max(self.weather.end_s, last) + LATEST_S + EACH_S * len(texts) + SPOILT_S * spoilt

    async def play(self) -> None:
        tasks = [asyncio.ensure_future(self._order(plan)) for plan in self.plans]
        _, late = await asyncio.wait(tasks, timeout=self.latest_s)
        self.hang = len(late)
        self.over_s = SimulatedClock().monotonic()
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A probe that nobody needs any more may be on its way.
        await asyncio.sleep(200)
        courier = self.courier
        parts = {
            "_entries": courier._entries,
            "_by_text": courier._by_text,
            "_orders": courier._orders,
            "_calls": courier._calls,
            "_suspects": courier._suspects,
        }
        self.left += [name for name, part in parts.items() if part]
        await courier.close()
        self.left += [repr(task.get_coro()) for task in asyncio.all_tasks() - {asyncio.current_task()}]
        self.left += [f"{stream.patience.outages}" for stream in self.streams if stream.patience.outages]

    async def _order(self, plan: Plan) -> None:
        clock = SimulatedClock()
        await clock.sleep(plan.at_s)
        ended = Ended(plan, began_s=clock.monotonic())
        gateway = self.streams[plan.stream].gateways[plan.lane]
        try:
            ended.got = await asyncio.wait_for(gateway.embed(plan.texts), plan.gives_up_s)
        except TimeoutError:
            ended.given_up = True
        except Exception as error:  # noqa: BLE001 (judged)
            ended.error = error
        finally:
            ended.ended_s = clock.monotonic()
            self.ended.append(ended)


def planned(seed: int) -> list[Plan]:
    """Draw the orders of a history."""
    dice = random.Random(f"orders {seed}")
    streams = dice.randint(1, 4)
    marked = dice.choice([0.0, 0.02, 0.1, 0.3])
    known = dice.choice([20, 100, 1000])
    giving_up = dice.choice([0.0, 0.0, 0.3])
    seconds = dice.choice([1.0, 20.0, 60.0])
    replaying = dice.choice([0.0, 0.3, 0.6])

    def text() -> str:
        number = dice.randrange(known)
        own = random.Random(f"text {seed} {number}")  # equal numbers are equal texts
        mark = own.choice(MARKS) if own.random() < marked else "text"
        return f"{mark} {number}" + " more" * (own.randrange(20) if own.random() < 0.1 else 0)

    plans = []
    for _ in range(dice.randint(1, 12)):
        lane = Lane.REPLAY if dice.random() < replaying else Lane.LIVE
        texts = [text() for _ in range(dice.choice([1, 1, 2, 5, 20, 60]))]
        gives_up_s = dice.choice([0.0, 0.05, 1.0, 10.0]) if dice.random() < giving_up else None
        plans.append(Plan(dice.randrange(streams), dice.uniform(0, seconds), lane, texts, gives_up_s))
    return plans


def planned_in_calm(seed: int) -> list[Plan]:
    """A long replay, and now and then a small live order of texts that wait in it."""
    dice = random.Random(f"calm {seed}")
    texts = [f"text {number}" for number in range(dice.choice([100, 400]))]
    replay = Plan(0, 0.0, Lane.REPLAY, texts, None)
    live = (dice.sample(texts, dice.randint(1, 2)) for _ in range(dice.randint(1, 5)))
    return [replay, *(Plan(1, at + dice.random(), Lane.LIVE, few, None) for at, few in enumerate(live))]


def run(seed: int) -> World:
    """Play one history. It is judged elsewhere."""

    async def main() -> World:
        dice = random.Random(f"world {seed}")
        weather = draw(seed)
        model = (CountingModel if dice.random() < 0.4 else FaultyModel)(seed, weather)
        if weather.calm:
            model.requests = model.at_once = None  # nobody waits but for each other
        knows = model.requests if dice.random() < 0.3 else None
        policy = Policy(reserve=dice.choice([0.0, 0.25]))
        told: Counter[str] = Counter()

        def hear(event: Event, fields: dict[str, object]) -> None:
            assert event is Event.EMBEDDING_CALLED
            told[str(fields["outcome"])] += 1

        budget = Budget(requests=knows, window_s=WINDOW_S)
        courier = Courier(model, SimulatedClock(), SeededDice(seed), budget=budget, policy=policy, emit=hear)
        courier._trusted = np.asarray(vector(PROBE), "<f4").tobytes()  # it was asked when the index was opened
        plans = planned_in_calm(seed) if weather.calm else planned(seed)
        streams = [Stream(f"s{at}", courier, seed + at) for at in range(1 + max(plan.stream for plan in plans))]
        world = World(seed, weather, model, courier, plans, streams, told=told)
        await world.play()
        return world

    return simulate(main)
