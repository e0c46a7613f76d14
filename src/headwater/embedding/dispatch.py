"""PURE: what goes to one model next, and when: lanes, batches, budget, capacity, retries and the breaker in one place.

The courier carries it out: it asks for the `next` call whenever a text came, a call ended or a wait is over, and
tells what became of each call. What was `rejected` it sends again in parts (`resend`); the rest comes again by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from headwater.embedding.batching import Fill, Limits, Linger, Sized
from headwater.embedding.budget import Booking, Budget
from headwater.embedding.capacity import Capacity
from headwater.embedding.estimate import Estimator
from headwater.embedding.lanes import Lane, Lanes, Policy, Text
from headwater.embedding.port import Allowance
from headwater.embedding.retries import Breaker, RetryBudget, backoff_s
from headwater.errors import Overloaded, RateLimited, Retry

#: So many refusals in a row, with nothing granted between: what was asked for may be more than is ever granted.
HOPELESS = 4


class Call(msgspec.Struct, frozen=True):
    """A call that goes now. `tokens` is the most that it may cost, `attempt` how often these texts failed together."""

    lane: Lane
    texts: Sequence[Text]
    tokens: float
    attempt: int
    at_once: int
    booking: Booking

    @property
    def bytes(self) -> int:
        """How many bytes its texts have."""
        return sum(text.bytes for text in self.texts)


class _Again(msgspec.Struct, frozen=True):
    """A batch that goes again as it is, not before `due_s`."""

    texts: Sequence[Text]
    attempt: int
    due_s: float


class _Held(msgspec.Struct, frozen=True):
    """Nothing of a lane may go for so many seconds. `resources` says whether that is for want of slots or budget, which
    a lane behind it must not take.
    """

    wait_s: float
    resources: bool = True


class Dispatcher:
    """Decides for one model of one provider. `budget` is the account's, and may be shared with other dispatchers.

    `count(text)` is how many tokens a text has exactly, where the tokenizer is known. `riders` travel with each call
    that is packed. Nothing here waits or calls.
    """

    def __init__(
        self,
        limits: Limits,
        budget: Budget,
        capacity: Capacity,
        policy: Policy,
        count: Callable[[Sized], int] | None = None,
        riders: Sequence[Text] = (),
    ) -> None:
        self._riders = riders
        self._riding = sum(text.bytes for text in riders)
        self._limits = limits
        self._budget = budget
        budget.join()
        self._policy = policy
        self._count = count
        self.capacity = capacity
        self.breaker = Breaker()
        self._retries = RetryBudget()
        self._estimator = Estimator()
        self._lanes = Lanes(policy, lambda text: self._estimator.bound(text.bytes, 1))
        self._lingers = {lane: Linger() for lane in Lane}
        self._again: dict[Lane, list[_Again]] = {lane: [] for lane in Lane}
        self._under_way = dict.fromkeys(Lane, 0)

    def add(self, texts: Iterable[Text], now: float) -> None:
        """Let texts wait for their turn."""
        for text in texts:
            self._lanes.add(text)
            self._lingers[text.lane].arrived(now)

    def forget(self, keys: Collection[int]) -> None:
        """Take texts out again that wait for a turn, or for another one."""
        self._lanes.forget(keys)
        for lane, them in self._again.items():
            left = [(again, [text for text in again.texts if text.key not in keys]) for again in them]
            self._again[lane] = [
                msgspec.structs.replace(again, texts=texts)
                for again, texts in left
                if any(text not in self._riders for text in texts)
            ]

    def next(self, now: float) -> Call | float:
        """Return the call that goes now; or in how many seconds to ask again. Ask too when a text or an answer came."""
        wait = self.breaker.wait_s(now)
        if wait > 0:
            return wait
        if sum(self._under_way.values()) >= self.capacity.limit:
            return math.inf
        soonest = min((again.due_s - now for them in self._again.values() for again in them), default=math.inf)
        soonest = soonest if soonest > 0 else math.inf
        ready = [lane for lane in Lane if self._due(lane, now) or self._lanes.waiting(lane).texts]
        for lane in self._lanes.order(ready, now):
            step = self._try(lane, now)
            if isinstance(step, Call):
                return step
            soonest = min(soonest, step.wait_s)
            if lane is Lane.LIVE and step.resources:
                break
        return soonest

    def answered(self, call: Call, tokens: int, requests_left: Allowance, tokens_left: Allowance, now: float) -> None:
        """Learn from an answer: `tokens` is what the service counted, the rest what it said of its limits."""
        self._under_way[call.lane] -= 1
        self._budget.answered(call.booking, tokens, requests_left, tokens_left, now)
        self._estimator.learn(call.bytes, len(call.texts), tokens)
        sent = call.booking.sent_s
        self.capacity.answered(call.tokens, sent, call.at_once, now)
        self._lingers[call.lane].answered(now - sent)
        self.breaker.succeeded()

    def failed(
        self, call: Call, retry: Retry, roll: float, now: float, *, ill: bool = False, alive: bool = False
    ) -> None:
        """Learn that a call failed, by what the service said: its batch goes again as it is, when there is a chance.

        `ill`: no call can succeed, so all wait until one does that goes alone. `alive`: the service did answer.
        """
        self._under_way[call.lane] -= 1
        attempt = call.attempt + 1
        if isinstance(retry, RateLimited):
            # No failure of the call: the account pauses, and then it is the first in its lane.
            self.breaker.succeeded()
            self._budget.refused(call.booking, retry.after_s, roll, now)
            self._again[call.lane] += [_Again(part, call.attempt, now) for part in self._parts(call)]
            return
        self._budget.failed(call.booking, now)
        if alive:
            self.breaker.succeeded()
        elif isinstance(retry, Overloaded):
            at_once = 1 + sum(self._under_way.values())
            self.capacity.overloaded(call.booking.sent_s, at_once, now)
            if at_once > 1:
                self.breaker.succeeded()
            else:  # less at once would not help: it is away
                self.breaker.failed(roll, retry.after_s, now)
        else:
            self.breaker.failed(roll, retry.after_s, now, ill=ill)
        pause = max(backoff_s(attempt, roll, retry.after_s), self._retries.reserve_s(now))
        self._again[call.lane].append(_Again(call.texts, attempt, now + pause))

    def _parts(self, call: Call) -> Sequence[Sequence[Text]]:
        """Return what a refused call goes again as: halves where it may be more than a limit that nobody says."""
        halves = self._halves(call.texts) if self._budget.refusals >= HOPELESS else ()
        return halves or [call.texts]

    def _halves(self, batch: Sequence[Text]) -> Sequence[Sequence[Text]]:
        """Return a batch as two, its riders in both; nothing where it is a single text."""
        texts = [text for text in batch if text not in self._riders]
        middle = len(texts) // 2
        return [[*part, *self._riders] for part in (texts[:middle], texts[middle:])] if middle else ()

    def rejected(self, call: Call, now: float) -> None:
        """Learn that the service refused the input of a call, and so is alive."""
        self._under_way[call.lane] -= 1
        self._budget.failed(call.booking, now)
        self.breaker.succeeded()

    def abandoned(self, call: Call, now: float) -> None:
        """Learn that the caller gave a call up."""
        self._under_way[call.lane] -= 1
        self._budget.failed(call.booking, now)
        self.breaker.abandoned(now)

    def resend(self, texts: Sequence[Text], now: float, *, first: bool = False) -> None:
        """Send these texts of one lane as one call, next in their lane: a part of a batch that was refused. `first`:
        before all others that go again.
        """
        them = self._again[texts[0].lane]
        them.insert(0 if first else len(them), _Again(texts, 0, now))

    def _due(self, lane: Lane, now: float) -> _Again | None:
        return next((again for again in self._again[lane] if again.due_s <= now), None)

    def _try(self, lane: Lane, now: float) -> Call | _Held:
        keep = self._lanes.kept(lane, now)
        found = self.capacity.found(now)
        slots = math.inf if found is None else max(1, math.floor(round(found) * (1 - keep)))
        if keep and sum(self._under_way.values()) >= slots:
            return _Held(math.inf)
        again = self._due(lane, now)
        if again is not None:
            return self._repeat(lane, again, keep, now)
        return self._pack(lane, keep, now)

    def _repeat(self, lane: Lane, again: _Again, keep: float, now: float) -> Call | _Held:
        size = sum(text.bytes for text in again.texts)
        tokens, worst = self._estimator.bound(size, len(again.texts)), self._estimator.worst(size, len(again.texts))
        if self._count is not None:
            tokens = worst = sum(map(self._count, again.texts))
        if 0 < self._budget.tokens.whole(keep) < tokens and (halves := self._halves(again.texts)):
            # It went when this worker had more of the account: as it is, it would hold up all others for as long.
            place = self._again[lane].index(again)
            self._again[lane][place : place + 1] = [_Again(half, again.attempt, again.due_s) for half in halves]
            return self._repeat(lane, self._again[lane][place], keep, now)
        fit = self._budget.fit(tokens, tokens, worst, keep, now)
        if fit.wait_s > 0:
            return _Held(fit.wait_s)
        self._again[lane].remove(again)
        return self._send(lane, again.texts, (tokens, worst), again.attempt, now)

    def _pack(self, lane: Lane, keep: float, now: float) -> Call | _Held:
        waiting, head = self._lanes.waiting(lane), self._lanes.head(lane)
        assert head is not None
        riding = len(self._riders)
        texts = min(waiting.texts + riding, self._limits.texts)
        share = math.ceil(waiting.bytes * (texts - riding) / waiting.texts)
        size = min(self._limits.bytes, share + self._riding)
        need = self._estimator.bound(head.bytes + self._riding, 1 + riding)
        most = max(need, min(self._limits.tokens, self._estimator.bound(size, texts)))
        full = texts >= self._limits.texts or waiting.bytes >= self._limits.bytes or most == self._limits.tokens
        linger = 0.0 if full else self._lingers[lane].wait_s(waiting.since, self._under_way[lane], now)
        if linger > 0:
            return _Held(linger, resources=False)
        fit = self._budget.fit(need, most, self._estimator.worst(size, texts), keep, now)
        if fit.wait_s > 0:
            return _Held(fit.wait_s)
        room = math.floor(min(self._limits.tokens, fit.tokens))
        limits = msgspec.structs.replace(self._limits, tokens=room)
        fill = Fill(limits, self._estimator.bound, self._count, exactly=fit.near, riders=self._riders)
        taken = [*self._lanes.take(lane, fill), *self._riders]
        worst = fill.tokens if fill.exact else self._estimator.worst(sum(text.bytes for text in taken), len(taken))
        return self._send(lane, taken, (fill.tokens, worst), 0, now)

    def _send(self, lane: Lane, texts: Sequence[Text], cost: tuple[int, int], attempt: int, now: float) -> Call:
        tokens, worst = cost
        self._under_way[lane] += 1
        self._lanes.serve(lane, tokens, now)
        if attempt == 0:
            self._retries.requested()
        self.breaker.sent()
        booking = self._budget.book(tokens, worst, now)
        return Call(lane, texts, tokens, attempt, sum(self._under_way.values()), booking)
