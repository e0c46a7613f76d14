"""The modelled model: an Embedder whose every call follows the weather, and which writes down what it was asked."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from headwater.embedding.port import PROBE, Allowance, Description, Embedded, Purpose
from headwater.errors import Denied, Overloaded, RateLimited, Reject, Retry, TooLong, Unreachable
from tests.simulation_courier.weather import LONG, POISON, SPOILT, Blame, Fault, Phase, Weather

NAME = "model"
DIMENSIONS = 6
WINDOW_S = 5.0
#: More calls than any history needs: something goes round in circles.
ENOUGH = 5_000


def vector(text: str, salt: bytes = b"") -> list[float]:
    """The vector of a text: of length 1, and no other text's. With a salt it is another model's."""
    raw = np.frombuffer(blake2b(text.encode(), digest_size=DIMENSIONS, salt=salt).digest(), np.uint8) - 127.5
    return [float(it) for it in raw / np.linalg.norm(raw)]


def tokens(text: str) -> int:
    """How many tokens a text has."""
    return 2 + len(text) // 4


@dataclass
class Seen:
    """One call. `outcome` is what came of it; `worked`: the work was done, answered or not."""

    texts: Sequence[str]
    at_s: float
    outcome: str = "under way"
    worked: bool = False
    end_s: float = 0.0

    @property
    def clean(self) -> bool:
        return self.outcome == "clean"


class FaultyModel:
    """An Embedder."""

    def __init__(self, seed: int, weather: Weather) -> None:
        self.weather = weather
        self.dice = random.Random(f"model {seed}")
        dice = random.Random(f"limits {seed}")
        self.max_texts = dice.choice([1, 3, 8, 32])
        self.max_characters = dice.choice([200, 400, 100_000])
        self.max_call_tokens = dice.choice([None, None, 30, 500])
        if self.max_texts == 1:
            weather.swapped_s = None  # no call has room for a witness
        self.call_s = dice.choice([0.01, 0.1, 0.5])
        self.text_s = dice.choice([0.0, 0.005])
        self.at_once = dice.choice([1, 3, 8, None, None])
        self.queues = dice.random() < 0.5
        self.requests = dice.choice([None, None, 20])  # in any WINDOW_S
        self.says_limits = dice.random() < 0.5
        self.seen: list[Seen] = []
        self.most_at_once: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.struck: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._working = 0
        self._places = asyncio.Semaphore(self.at_once or 10_000)
        self._admitted: deque[float] = deque()

    def __repr__(self) -> str:
        return f"FaultyModel({len(self.seen)} calls)"

    def describe(self) -> Description:
        return Description(
            NAME, "fingerprint", DIMENSIONS, self.max_texts, self.max_characters, max_call_tokens=self.max_call_tokens
        )

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        seen = Seen(list(texts), self.now)
        self.seen.append(seen)
        if len(self.seen) > ENOUGH:
            raise RuntimeError("asked without end")
        self._look(texts)
        self._under_way.update(texts)
        for text in texts:
            self.most_at_once[text] = max(self.most_at_once[text], self._under_way[text])
        try:
            answer = await self._answer(seen)
        except asyncio.CancelledError:
            seen.outcome = "cancelled"
            raise
        except Exception as error:
            seen.outcome = type(error).__name__
            raise
        finally:
            seen.end_s = self.now
            self._under_way.subtract(texts)
        seen.outcome = "clean" if seen.outcome == "under way" else seen.outcome
        return answer

    def _look(self, texts: Sequence[str]) -> None:
        """Write down what no call may be."""
        if not texts or len(texts) > self.max_texts or len(set(texts)) < len(texts):
            self.wrong.append(f"a call of {len(texts)} texts, {len(set(texts))} different ones")
        if len(texts) > 1 and sum(map(len, texts)) > self.max_characters:
            self.wrong.append(f"a call of {sum(map(len, texts))} characters")

    # --- what becomes of a call

    async def _answer(self, seen: Seen) -> Embedded:
        weather, now = self.weather, self.now
        if weather.denied_s is not None and now >= weather.denied_s:
            self.struck["denied"] += 1
            raise Denied(NAME, "the key is refused")
        phase = weather.phase(now)
        if phase is not None:
            await self._in_phase(phase, seen)
        self._limit(now)
        if self._strikes(Fault.LIMITED):
            raise RateLimited(NAME, "429", weather.after_s)
        if self._strikes(Fault.BUSY) or (self.at_once and not self.queues and self._working >= self.at_once):
            raise Overloaded(NAME, "503", weather.after_s)
        self._working += 1
        try:
            async with self._places:
                await asyncio.sleep(self.call_s * self.dice.uniform(0.8, 1.5) + self.text_s * len(seen.texts))
        finally:
            self._working -= 1
        if self._strikes(Fault.FAILED):
            raise Retry(NAME, "500")
        if self.max_call_tokens and sum(map(tokens, seen.texts)) > self.max_call_tokens:
            self.struck["too large"] += 1
            raise TooLong("more tokens than a call may have")
        self._refuse(seen.texts)
        seen.worked = True
        if self._strikes(Fault.HUNG):
            await self._hang()
        if self._strikes(Fault.LOST):
            raise Retry(NAME, "the connection broke")
        return self._spoilt(seen, phase)

    async def _in_phase(self, phase: Phase, seen: Seen) -> None:
        self.struck[phase] += 1
        after_s = self.weather.after_s
        if phase is Phase.ILL:
            raise Reject("closed today", self.dice.choice([None, 0, len(seen.texts) - 1]))
        if phase is Phase.GONE:
            await asyncio.sleep(0.01)
            raise Unreachable(NAME, "no such model", "Check the name")
        if phase is Phase.AWAY:
            await asyncio.sleep(self.dice.choice([0.01, 0.3]))
            raise Retry(NAME, "refuses the connection")
        if phase is Phase.SILENT:
            seen.worked = True
            await self._hang()
        if phase is Phase.FULL:
            await asyncio.sleep(0.01)
            raise Overloaded(NAME, "503", after_s)
        if phase is Phase.STORM:
            await asyncio.sleep(0.01)
            raise RateLimited(NAME, "429", after_s)

    async def _hang(self) -> None:
        await asyncio.sleep(self.weather.hang_s)
        raise Retry(NAME, "did not answer in time")

    def _limit(self, now: float) -> None:
        """Refuse what is more than the account may send in a sliding window."""
        if self.requests is None:
            return
        while self._admitted and self._admitted[0] <= now - WINDOW_S:
            self._admitted.popleft()
        if len(self._admitted) >= self.requests:
            self.struck["limit"] += 1
            raise RateLimited(NAME, "429", self._admitted[0] + WINDOW_S - now if self.weather.after_s else None)
        self._admitted.append(now)

    def _refuse(self, texts: Sequence[str]) -> None:
        at = [place for place, text in enumerate(texts) if POISON in text or LONG in text]
        if not at:
            return
        kind = TooLong if LONG in texts[at[0]] else Reject
        blame = self.weather.blame
        if blame is Blame.ANY:
            blame = self.dice.choice([Blame.RIGHT, Blame.WRONG, Blame.NONE])
        index = {Blame.RIGHT: at[0], Blame.WRONG: self.dice.randrange(len(texts) + 1), Blame.NONE: None}[blame]
        self.struck[kind.__name__] += 1
        raise kind("it cannot be embedded", index)

    def _spoilt(self, seen: Seen, phase: Phase | None) -> Embedded:
        texts, dice = seen.texts, self.dice
        index = list(range(len(texts)))
        swapped = self.weather.swapped_s is not None and seen.at_s >= self.weather.swapped_s
        rows = np.asarray([vector(text, b"other" if swapped else b"") for text in texts], np.float32)
        if swapped:
            seen.outcome = "swapped"
            self.struck["swapped"] += 1
        counted = sum(map(tokens, texts))
        halt = self.weather.halt_call
        if halt is not None and len(self.seen) > halt:
            self.weather.halt_call = None
            self.struck["dimension"] += 1
            seen.outcome = "dimension"
            return Embedded(rows[:, :-1], tuple(index), counted)
        bad = {place for place, text in enumerate(texts) if SPOILT in text}
        if self._strikes(Fault.NOT_FINITE):
            bad.add(dice.randrange(len(texts)))
        if phase is Phase.NOT_FINITE:
            bad |= set(index)
        for place in bad:
            rows[place, dice.randrange(DIMENSIONS)] = dice.choice([np.nan, np.inf])
            seen.outcome = "spoilt"
        if self._strikes(Fault.SCALED):
            rows = rows * np.float32(3)
        if self._strikes(Fault.MISSING):
            seen.outcome = "spoilt"
            index, rows = index[:-1], rows[:-1]
        elif self._strikes(Fault.TWICE):
            seen.outcome = "spoilt"
            index[-1] = 0 if len(index) > 1 else 1
        elif self._strikes(Fault.REORDERED):
            order = dice.sample(index, len(index))
            index, rows = order, rows[order]
        return Embedded(rows, tuple(index), counted, self._said())

    def _said(self) -> Allowance:
        if self.requests is None or not self.says_limits:
            return Allowance()
        reset_s = self._admitted[-1] + WINDOW_S - self.now if self._admitted else 0.0
        return Allowance(self.requests, self.requests - len(self._admitted), max(0.0, reset_s))

    def _strikes(self, fault: Fault) -> bool:
        share = self.weather.shares.get(fault, 0.0) if self.now < self.weather.end_s else 0.0
        struck = share > 0 and self.dice.random() < share
        self.struck[fault] += struck
        return struck


class CountingModel(FaultyModel):
    """One whose tokenizer is known."""

    def count(self, text: str) -> int:
        return tokens(text)


def probing(seen: Seen) -> bool:
    """Whether a call is the known-good text."""
    return list(seen.texts) == [PROBE]
