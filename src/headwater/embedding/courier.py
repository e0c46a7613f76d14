"""The courier: carries texts to one model and vectors back. What goes when is decided in `dispatch`; who is to blame
for a refusal is found out here, and every answer is checked before anybody gets it.

A text is blamed only while a known-good probe passes: a model that refuses everything is an outage, not a corpus of
poison (anomaly poison-block). Streams, lanes and orders share calls; equal texts under way are asked for once.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count

import msgspec

from headwater.clock import Clock, Dice
from headwater.embedding.answers import Unusable, check
from headwater.embedding.batching import Limits, Sized
from headwater.embedding.budget import Budget
from headwater.embedding.capacity import Capacity
from headwater.embedding.dispatch import Call, Dispatcher
from headwater.embedding.estimate import AROUND
from headwater.embedding.lanes import Lane, Policy, Text
from headwater.embedding.orders import Entry, Order, Refused, Suspects
from headwater.embedding.port import PROBE, Count, Description, Embedded, Embedder
from headwater.embedding.retries import State
from headwater.embedding.spending import Spending, cost_usd
from headwater.embedding.witness import DRIFT, cosine, drifted
from headwater.errors import Denied, Overloaded, RateLimited, Reject, Retry, TooLong, Unreachable
from headwater.model.receipt import Usage
from headwater.observability.signals import Emit, Event, unheard
from headwater.patience import Patience, Wait

#: So many refusals in a row, without an answer between them, are looked into with the probe before anything is split.
SUSPICIOUS = 4
#: An answer that cannot be used is asked for again so often before the texts are suspected.
UNUSABLE = 3
#: A budget that is spent is looked at again after so long: a person may have raised it, or the clock was set.
LOOK_S = 60.0

#: A model that answered nothing for so long, and failed a call, is away.
SILENT_S = 5.0

_UNLIMITED = 1 << 40


#: A call under way: what the model answers, and its vectors in the order asked.
_Asking = asyncio.Task[tuple[Embedded, list[bytes]]]


class Courier:
    """Serves all streams that use one model. `budget` and `spending` are the account's, and may be shared by couriers.

    Its tasks run on the loop that first orders something, until `close`.
    """

    def __init__(
        self,
        embedder: Embedder,
        clock: Clock,
        dice: Dice,
        *,
        budget: Budget | None = None,
        policy: Policy | None = None,
        spending: Spending | None = None,
        emit: Emit = unheard,
    ) -> None:
        self._embedder = embedder
        self._clock = clock
        self._dice = dice
        self._budget = budget or Budget()
        self._policy = policy or Policy()
        self._spending = spending
        self._emit = emit
        self._dispatcher: Dispatcher | None = None
        self._keys = count()
        self._riders: list[Text] = []
        self._trusted: bytes | None = None  # the vector of the rider
        self._entries: dict[int, Entry] = {}
        self._by_text: dict[tuple[Lane, str], Entry] = {}
        self._orders: dict[Order, None] = {}
        self._calls: dict[_Asking, Call] = {}
        self._timer: asyncio.Task[None] | None = None
        self._due_s = math.inf
        self._probe: int | None = None  # the key of the probe under way
        self._suspects: list[Suspects] = []
        self._refusals = 0  # in a row
        self._failing_s: float | None = None  # since when calls fail and none is answered
        self._away: Retry | None = None
        self._spent = False  # the account's budget
        self._closed = False
        self._unclaimed: dict[str, Usage] = {}  # by stream: what was paid and belongs to no order

    def __repr__(self) -> str:
        return f"Courier({self._embedder!r}, {len(self._entries)} texts under way)"

    async def open(self) -> None:
        """Open the embedder; `model` comes after it. Raise Retry or Unreachable."""
        await self._embedder.open()

    @property
    def model(self) -> Description:
        """What the model is."""
        return self._embedder.describe()

    @property
    def counts(self) -> Count | None:
        """How many tokens a text has, where the tokenizer is known here."""
        return getattr(self._embedder, "count", None)

    def pass_on(self, order: Order) -> None:
        """Let what an order cost be part of what the stream's next one costs: nobody settles this one."""
        self._unclaimed[order.stream] = self._unclaimed.get(order.stream, Usage()) + order.usage

    async def close(self) -> None:
        """Give up what is under way, and close the embedder. Idempotent."""
        self._closed = True
        for order in self._orders:
            order.done.cancel()
        tasks = [*self._calls, *([self._timer] if self._timer else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._embedder.close()

    # --- orders

    async def carry(self, texts: Sequence[str], stream: str, lane: Lane, patience: Patience) -> Order:
        """Return an order whose answers are all there. Waits out outages, and tells `patience` of them.

        Raise Denied when the service refuses the account, Halt when vectors are not as promised.
        """
        order = Order(texts, stream, lane, Wait(patience))
        if not texts:
            return order
        self._take(order)
        try:
            await order.done
        finally:
            self._let_go(order)
        return order

    def _take(self, order: Order) -> None:
        now = self._clock.monotonic()
        self._orders[order] = None
        order.usage = self._unclaimed.pop(order.stream, Usage())
        if self._away is not None:
            order.wait.away(self._away)
        new: list[Text] = []
        for place, text in enumerate(order.texts):
            # What waits behind a replay must not hold up what is live.
            known = self._by_text.get((Lane.LIVE, text)) or self._by_text.get((order.lane, text))
            if known is not None:
                known.waiters.append((order, place))
                continue
            entry = Entry(next(self._keys), text, order.lane, (order, place))
            self._entries[entry.key] = self._by_text[order.lane, text] = entry
            size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
            new.append(Text(entry.key, order.lane, order.stream, size, now))
        self._decisions().add(new, now)
        self._turn()

    def _let_go(self, order: Order) -> None:
        """Forget an order; texts that nobody else waits for are not asked for any more."""
        order.wait.leave()
        self._orders.pop(order, None)
        if not order.left:
            return
        self.pass_on(order)
        gone = set()
        for entry in list(self._entries.values()):
            entry.waiters = [(other, place) for other, place in entry.waiters if other is not order]
            if not entry.waiters:
                self._drop(entry)
                gone.add(entry.key)
        if gone:
            self._decisions().forget(gone)
            for task, call in self._calls.items():
                if not self._wanted(call.texts):
                    task.cancel()
            self._turn()

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.key], self._by_text[entry.lane, entry.text]

    def _decisions(self) -> Dispatcher:
        if self._dispatcher is None:
            model, counts = self.model, self.counts

            def tokens(text: Sized) -> int:
                assert isinstance(text, Text)
                assert counts is not None
                return counts(self._text(text.key))

            limits = Limits(model.max_texts, model.max_call_tokens or _UNLIMITED, model.max_characters)
            if model.witnessed and model.max_texts > 1:
                self._riders = [Text(next(self._keys), Lane.LIVE, "", len(PROBE), 0.0)]
            self._dispatcher = Dispatcher(
                limits,
                self._budget,
                Capacity(),
                self._policy,
                None if counts is None else tokens,
                self._riders,
            )
        return self._dispatcher

    def _wanted(self, texts: Sequence[Text]) -> list[Text]:
        """Return those that somebody waits for still."""
        return [text for text in texts if text.key in self._entries or text.key == self._probe]

    def _resend(self, texts: Sequence[Text], now: float) -> None:
        self._decisions().resend([*texts, *self._riders], now)

    def _text(self, key: int) -> str:
        entry = self._entries.get(key)
        return PROBE if entry is None else entry.text

    # --- calls

    def _turn(self) -> None:
        """Send all that may go now, and come back when more may."""
        if self._closed:
            return
        while isinstance(step := self._spent_s() or self._decisions().next(self._clock.monotonic()), Call):
            task = asyncio.ensure_future(self._ask([self._text(text.key) for text in step.texts]))
            self._calls[task] = step
            task.add_done_callback(partial(self._over, self._clock.now_us()))
        due_s = self._clock.monotonic() + step
        if self._timer is not None and (due_s < self._due_s or math.isinf(step)):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and math.isfinite(step):
            self._due_s = due_s
            self._timer = asyncio.ensure_future(self._wake(step))

    def _spent_s(self) -> float:
        """Return for how long the account's budget is spent, and have those who wait told of it; 0 where it is not."""
        now_us = self._clock.now_us()
        if self._spending is None or not (wait := self._spending.wait_s(now_us)):
            self._spent = False
            return 0.0
        self._spent = True
        self._lack(Retry(f"budget of {self.model.name}", self._spending.cause(now_us)))
        return min(wait, LOOK_S)

    async def _wake(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._timer = None
        with self._heard():
            self._turn()

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Tell all who wait of a defect: nobody else would hear of it, and they would wait for ever."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (handed on)
            for order in self._orders:
                order.fail(error)

    async def _ask(self, texts: Sequence[str]) -> tuple[Embedded, list[bytes]]:
        answer = await self._embedder.embed(texts)
        return answer, check(answer, len(texts), self.model.name, self.model.dimensions)

    def _over(self, started_us: int, task: _Asking) -> None:
        with self._heard():
            self._learn(self._calls.pop(task), task, started_us)
            self._turn()

    def _learn(self, call: Call, task: _Asking, started_us: int) -> None:
        """Learn what became of a call, and tell of it."""
        tokens = 0
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            answer, vectors = task.result()
            outcome, tokens = "answered", answer.tokens
            self._answered(call, answer, vectors)
        else:
            outcome = self._not_answered(call, error)
        self._emit(
            Event.EMBEDDING_CALLED,
            {
                "model": self.model.name,
                "host": self.model.host,
                "lane": call.lane.value,
                "texts": len(call.texts),
                "tokens": tokens,
                "dimensions": self.model.dimensions,
                "outcome": outcome,
                "attempt": call.attempt,
                "started_us": started_us,
                "seconds": self._clock.monotonic() - call.booking.sent_s,
                "cost_usd": cost_usd(tokens, self._spending.price) if self._spending else 0.0,
            },
        )

    def _not_answered(self, call: Call, error: BaseException) -> str:
        """Decide what a failure means, and return its name."""
        if isinstance(error, Unusable) and call.attempt < UNUSABLE:
            if call.texts[0].key == self._probe:
                self._acquit(call)
            # One bad text must not stop the others: the model is there.
            self._failed(call, Retry(self.model.name, error.reason), alive=True)
            return "failed"
        if isinstance(error, Reject):
            self._rejected(call, error)
            return "rejected"
        self._acquit(call)
        if isinstance(error, Retry):
            self._failed(call, error)
            return _BUSY.get(type(error), "failed")
        if isinstance(error, Unreachable) and not isinstance(error, Denied):
            # A name or an address that is wrong for a while hurts no text: it is waited for like any outage.
            said = f"{error.cause}. {error.cure}" if error.cure else error.cause
            self._failed(call, Retry(self.model.name, said), ill=True)
            return "refused"
        self._decisions().abandoned(call, self._clock.monotonic())
        if isinstance(error, asyncio.CancelledError):
            return "abandoned"
        self._fail(call.texts, error)
        return "refused"

    def _answered(self, call: Call, answer: Embedded, vectors: Sequence[bytes]) -> None:
        now = self._clock.monotonic()
        self._decisions().answered(call, answer.tokens, answer.requests_left, answer.tokens_left, now)
        self._refusals = 0
        self._back()
        texts = call.texts
        if self._rides(call) or texts[0].key == self._probe:
            self._trusted = self._trusted or vectors[-1]
            if cosine(self._trusted, vectors[-1]) < DRIFT:
                self._fail(texts, drifted(self.model.name))
                return
            texts = [text for text in texts if text not in self._riders]
        if texts and texts[0].key != self._probe and (counted := self._cut(call, answer.tokens)):
            reason = f"it has {counted} tokens with those beside it, and the service counted {answer.tokens}"
            self._suspect(call, TooLong(f"{reason}: it was cut"))
            return
        size, passed, shared = max(sum(text.bytes for text in texts), 1), 0, 0
        payer: Order | None = None
        paid: Counter[str] = Counter()
        for text, vector in zip(texts, vectors, strict=False):
            passed += text.bytes
            tokens, shared = answer.tokens * passed // size - shared, answer.tokens * passed // size
            if text.key == self._probe:
                self._passed(call.booking.sent_s)
                continue
            entry = self._entries.get(text.key)
            if entry is None:
                continue  # nobody waits for it any more
            self._drop(entry)
            order, place = entry.waiters[0]
            order.tokens[place], order.paid[place] = tokens, True
            replayed = tokens if order.lane is Lane.REPLAY else 0
            order.usage += Usage(calls=int(payer is None), texts=1, tokens=tokens, replay_tokens=replayed)
            payer = payer or order
            paid[order.stream] += tokens
            for order, place in entry.waiters:
                order.answer(place, vector)
        if self._spending is not None:
            for stream, count in paid.items():
                self._spending.paid(stream, count, self._clock.now_us())

    def _back(self) -> None:
        """The model is there, if it was away."""
        self._failing_s = None
        if self._away is not None and not self._spent:
            self._away = None
            for order in self._orders:
                order.wait.back()

    def _rides(self, call: Call) -> bool:
        return bool(self._riders) and call.texts[-1] is self._riders[0]

    def _cut(self, call: Call, reported: int) -> int:
        """Return how many tokens a call has, where the service counted fewer: it cut a text, and does not say so."""
        counts = self.counts
        if counts is None or not reported or not self.model.witnessed:
            return 0
        if any(text.key not in self._entries for text in call.texts if text not in self._riders):
            return 0  # what was given up meanwhile is not known any more
        counted = sum(counts(self._text(text.key)) for text in call.texts)
        # A service may not count what the model puts around each text.
        return counted if reported + AROUND * len(call.texts) < counted else 0

    def _failed(self, call: Call, retry: Retry, *, ill: bool = False, alive: bool = False) -> None:
        now, decisions = self._clock.monotonic(), self._decisions()
        wanted = self._wanted(call.texts)
        if not wanted:
            decisions.abandoned(call, now)
            return
        again = [*wanted, *self._riders] if self._rides(call) else wanted
        call = msgspec.structs.replace(call, texts=again)
        decisions.failed(call, retry, self._dice.random(), now, ill=ill, alive=alive)
        if self._failing_s is None:
            self._failing_s = call.booking.sent_s
        if now - self._failing_s >= SILENT_S or decisions.breaker.state is not State.CLOSED:
            self._lack(retry)

    def _lack(self, away: Retry) -> None:
        """Tell all who wait what for."""
        self._away = away
        for order in self._orders:
            order.wait.away(away)

    def _fail(self, texts: Sequence[Text], error: BaseException) -> None:
        """Tell all who wait for one of these texts."""
        if any(text.key == self._probe for text in texts):
            suspects, self._suspects, self._probe = self._suspects, [], None
            texts = [text for suspect in suspects for text in suspect.texts]
        for text in texts:
            entry = self._entries.get(text.key)
            for order, _ in entry.waiters if entry else ():
                order.fail(error)

    # --- whose fault it is

    def _rejected(self, call: Call, reject: Reject) -> None:
        now, decisions = self._clock.monotonic(), self._decisions()
        if call.texts[0].key == self._probe:
            # It refuses what every model can embed.
            self._acquit(call)
            self._failed(call, Retry(self.model.name, f"it refuses every text: {reject.reason}"), ill=True)
            return
        decisions.rejected(call, now)
        self._suspect(call, reject)

    def _suspect(self, call: Call, reject: Reject) -> None:
        """Look into what a call was refused for; the call itself is settled."""
        now = self._clock.monotonic()
        self._refusals += 1
        texts = self._wanted(call.texts)
        named = None if reject.index is None or reject.index >= len(call.texts) else call.texts[reject.index]
        suspects = Suspects(texts, named if named in texts else None)
        if len(texts) > 1 and self._refusals < SUSPICIOUS:
            self._split(suspects, now)
        elif texts:
            entry = self._entries[texts[0].key]
            entry.too_long = isinstance(reject, TooLong)
            if len(texts) == 1 and entry.probed and not (entry.too_long and self._rides(call)):
                entry.refused, entry.refused_s = Refused(reject.reason, isinstance(reject, TooLong)), now
            self._suspects.append(suspects)
            self._send_probe(now)

    def _send_probe(self, now: float) -> None:
        """Ask for the known-good text, before anything else."""
        if self._suspects and self._probe is None:
            self._probe = next(self._keys)
            probe = Text(self._probe, Lane.LIVE, self._suspects[0].texts[0].stream, len(PROBE), now)
            self._decisions().resend([probe], now, first=True)

    def _acquit(self, call: Call) -> None:
        """Whatever its texts were refused for may have been the model's doing: it has to happen anew."""
        own = (self._entries.get(text.key) for text in call.texts)
        for entry in self._entries.values() if call.texts[0].key == self._probe else filter(None, own):
            entry.probed, entry.refused = False, None

    def _passed(self, sent_s: float) -> None:
        """The probe passed that went at `sent_s`. What was refused before goes again in parts, until a text stands
        alone; that goes once more. If it is refused then, and the probe, sent at once, passes again, it is to blame.
        """
        now = self._clock.monotonic()
        waiting, self._suspects, self._probe = self._suspects, [], None
        for suspects in waiting:
            texts = self._wanted(suspects.texts)
            if len(texts) > 1:
                self._split(suspects, now)
            elif texts:
                self._tried(texts[0], sent_s, now)
        self._send_probe(now)

    def _tried(self, text: Text, sent_s: float, now: float) -> None:
        entry = self._entries[text.key]
        if entry.refused is None:
            entry.probed = True
            # Without a rider where that may have been too much.
            self._decisions().resend([text, *([] if entry.too_long else self._riders)], now)
        elif entry.refused_s > sent_s:
            self._suspects.append(Suspects([text], None))
        else:
            self._back()
            self._drop(entry)
            for order, place in entry.waiters:
                order.answer(place, entry.refused)

    def _split(self, suspects: Suspects, now: float) -> None:
        """Send texts again in parts: the one that the service named apart, else halves."""
        texts = self._wanted(suspects.texts)
        apart = [text for text in texts if text is suspects.named] or texts[: len(texts) // 2]
        for part in (apart, [text for text in texts if text not in apart]):
            self._resend(part, now)


_BUSY = {RateLimited: "rate_limited", Overloaded: "overloaded"}
