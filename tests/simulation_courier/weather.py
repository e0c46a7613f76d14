"""What goes wrong with a modelled model and when, drawn from a seed. All of it ends at `end_s`, except poison."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum

#: A text that holds one of these is refused, has never a usable vector, or is too long for the model.
POISON, SPOILT, LONG = "poison", "spoilt", "long"
MARKS = (POISON, SPOILT, LONG)


class Fault(StrEnum):
    """What can happen to one call. Each strikes with a share of its own."""

    FAILED = "failed"  # 5xx after the time of a call, nothing done
    HUNG = "hung"  # the work is done, and no answer comes for long
    LOST = "lost"  # the work is done, and the answer breaks off
    BUSY = "busy"  # 503 at once
    LIMITED = "limited"  # 429 at once
    MISSING = "missing"  # one vector fewer than texts
    TWICE = "twice"  # two vectors claim one place
    NOT_FINITE = "not finite"  # one vector with NaN, any
    REORDERED = "reordered"  # in another order; the index is right
    SCALED = "scaled"  # three times as long


class Phase(StrEnum):
    """What can happen to all calls for a while."""

    ILL = "ill"  # refuses every text
    GONE = "gone"  # another name: no such model
    AWAY = "away"
    SILENT = "silent"  # no answer for long, though the work is done
    FULL = "full"  # 503 at once
    STORM = "storm"  # 429 at once
    NOT_FINITE = "nothing finite"  # NaN for every text


#: Those in which the model answers that the texts are at fault.
ILLNESSES = (Phase.ILL, Phase.NOT_FINITE)


class Blame(StrEnum):
    """Which text a refusal names."""

    RIGHT = "right"
    WRONG = "wrong"
    NONE = "none"
    ANY = "any"  # one of these, from call to call


SPOILING = (Fault.MISSING, Fault.TWICE, Fault.NOT_FINITE)


@dataclass
class Weather:
    """`denied_s`: from then on the account is refused. `halt_call`: the first answer from this call on has another
    dimension. `swapped_s`: from then on another model answers. `after_s`: when 429 and 503 say to come again.
    """

    shares: dict[Fault, float] = field(default_factory=dict)
    phases: list[tuple[float, float, Phase]] = field(default_factory=list)
    end_s: float = 0.0
    blame: Blame = Blame.RIGHT
    after_s: float | None = None
    hang_s: float = 20.0
    denied_s: float | None = None
    halt_call: int | None = None
    swapped_s: float | None = None

    def phase(self, now: float) -> Phase | None:
        """Return what happens to all calls now."""
        return next((phase for begin, end, phase in self.phases if begin <= now < end), None)

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong at all."""
        never = self.denied_s is None and self.halt_call is None and self.swapped_s is None
        return never and not self.shares and not self.phases


def draw(seed: int) -> Weather:
    """Draw one weather: a fifth is calm, most has some shares and phases, some is denied or halted."""
    dice = random.Random(f"weather {seed}")
    weather = Weather(blame=dice.choice(list(Blame)), after_s=dice.choice([None, None, 0.5, 3.0]))
    if dice.random() < 0.15:
        return weather
    weather.end_s = dice.uniform(5, 60)
    for fault in dice.sample(list(Fault), dice.randint(0, 5)):
        most = 0.2 if fault in SPOILING else 0.3 if fault is Fault.LIMITED else 0.6
        weather.shares[fault] = dice.uniform(0.02, most)
    at_s = 0.0
    for _ in range(dice.randint(0, 4)):
        at_s += dice.expovariate(1 / 5)
        phase = dice.choice(list(Phase))
        # An illness that is over within three calls cannot be told from the text's own fault.
        end_s = at_s + dice.choice([3.0 if phase in ILLNESSES else 0.3, 3.0, 8.0, 30.0])
        weather.phases.append((at_s, end_s, phase))
        weather.end_s = max(weather.end_s, end_s)
        at_s = end_s
    if dice.random() < 0.06:
        weather.denied_s = dice.uniform(0, weather.end_s)
    elif dice.random() < 0.06:
        weather.halt_call = dice.randint(0, 20)
    elif dice.random() < 0.06:
        weather.swapped_s = dice.uniform(0, weather.end_s)
    return weather
