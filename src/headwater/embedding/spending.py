"""PURE: what an account at an embedding service spends in a day or a month, and when it has spent enough.

Tokens are facts, and stand in the ledgers; their price is configuration. So a new price holds for all of the period,
and nothing that is stored has to change with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from headwater.model.receipt import DAY_US, Usage

Level = Literal["soft", "hard"]
Per = Literal["day", "month"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cost_usd(tokens: int, price: float) -> float:
    """Return what tokens cost at a price in US dollars for a million of them."""
    return tokens * price / 1e6


def period(per: Per, now_us: int) -> tuple[int, int]:
    """Return the bounds of the day or the calendar month of UTC that `now_us` lies in; the second is the next one's."""
    start = (_EPOCH + timedelta(microseconds=now_us)).replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        end = start + timedelta(days=1)
    else:
        start = start.replace(day=1)
        end = (start + timedelta(days=31)).replace(day=1)
    return _us(start), _us(end)


def _us(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


class _Stream(msgspec.Struct):
    """One stream's tokens: by day as its ledger had them, and as this process counts them from its start.

    `learned` are those of the period in the ledger, `batch` those there that the batch interface was paid for; `seen`
    are those of `settled` that the ledger had for certain; `old` are those of `paid` that were paid before the period,
    `lost` those that were paid in it, and will be in no ledger. Only `batch` and the ledger know the batch interface.
    """

    daily: Mapping[int, Usage] = {}
    learned: int = 0
    batch: int = 0
    paid: int = 0
    settled: int = 0
    seen: int = 0
    old: int = 0
    lost: int = 0

    @property
    def spent(self) -> int:
        """What was spent in the period, through the batch interface apart."""
        return self.learned + max(0, self.paid - max(self.seen, self.old)) + self.lost

    def add_up(self, start_us: int, end_us: int) -> None:
        """Find what the ledger had of the period."""
        days = range(start_us // DAY_US, end_us // DAY_US)
        usage = sum((usage for day, usage in self.daily.items() if day in days), start=Usage())
        self.learned, self.batch = usage.tokens - usage.batch_tokens, usage.batch_tokens


class Spending:
    """What one account spends, as this process knows it: of all streams that use the account, and all their lanes.

    A stream is what one ledger holds: of a stream with several index generations each is one here.

    What others settled is known by looking into the ledgers (`look`, `learn`), what this process pays at once (`paid`).
    Until the first look, others have spent nothing: look before anything is embedded. Tokens belong to the period in
    which they are settled, and until then to the one in which they were paid.

    The hard limit stops what begins after it, so that it may be passed: by the calls that are under way, and by what
    other workers settle unseen. With looks every L seconds, each taking no more than T, and tokens that are settled
    within S seconds after they were paid, all workers together spend no more than the limit, what they pay in L + T + S
    seconds, and their calls under way. One worker alone passes it by its own calls under way, no more. What is settled
    during a look may count twice until the next one: that stops early, never late.

    What the batch interface is paid for counts from the first look after it was settled, for one worker alone too:
    `affords_batch` is to be asked before it is paid.
    """

    def __init__(self, price: float, batch_price: float, soft: float | None, hard: float | None, per: Per) -> None:
        """`price` and `batch_price` are in US dollars for a million tokens, `soft` and `hard` in US dollars a period.

        The second is the price of what goes through the service's batch interface.
        """
        self.price = price
        self.batch_price = batch_price
        self.limits: dict[Level, float | None] = {"soft": soft, "hard": hard}
        self.per = per
        self._streams: dict[str, _Stream] = {}
        self._start, self._end = 0, 0
        self._told: set[tuple[int, Level]] = set()

    def __repr__(self) -> str:
        return f"Spending({self.price}, {self.batch_price}, {self.limits}, {self.per!r}, {self._streams})"

    # --- what is known

    def look(self, stream: str) -> int:
        """Return what `learn` wants to know of the moment before a look into the ledger."""
        return self._of(stream).settled

    def learn(self, stream: str, daily: Mapping[int, Usage], looked: int) -> None:
        """Take in what the ledger had of a stream: its usage by day.

        `looked` is what `look` returned before the ledger was asked.
        """
        known = self._of(stream)
        known.daily, known.seen = daily, looked
        known.add_up(self._start, self._end)

    def paid(self, stream: str, tokens: int, now_us: int) -> None:
        """The service counted these tokens for a call of this process."""
        self._turn(now_us)
        self._of(stream).paid += tokens

    def settled(self, stream: str, tokens: int) -> None:
        """So many of the tokens that this process paid, and told by `paid`, are in the ledger now."""
        self._of(stream).settled += tokens

    def ended(self, stream: str) -> None:
        """The stream's worker ended: what it did not settle was paid all the same, and will be in no ledger."""
        known = self._of(stream)
        known.lost += max(0, known.paid - max(known.settled, known.old))
        known.paid = known.settled
        known.old = min(known.old, known.paid)

    # --- what follows

    def spent_usd(self, now_us: int) -> float:
        """Return what was spent in the period that `now_us` lies in."""
        self._turn(now_us)
        streams = self._streams.values()
        spent = cost_usd(sum(known.spent for known in streams), self.price)
        return spent + self.batch_cost_usd(sum(known.batch for known in streams))

    def batch_cost_usd(self, tokens: int) -> float:
        """Return what tokens cost through the batch interface."""
        return cost_usd(tokens, self.batch_price)

    def affords_batch(self, tokens: int, now_us: int) -> bool:
        """Tell whether so many tokens can be paid for through the batch interface without passing the hard limit."""
        hard = self.limits["hard"]
        return hard is None or self.spent_usd(now_us) + self.batch_cost_usd(tokens) <= hard

    def crossed(self, now_us: int) -> Level | None:
        """Return a limit that was reached and was not returned yet in this period: the soft one first."""
        spent = self.spent_usd(now_us)
        for level, limit in self.limits.items():
            if limit is not None and spent >= limit and (self._start, level) not in self._told:
                self._told.add((self._start, level))
                return level
        return None

    def wait_s(self, now_us: int) -> float:
        """Return for how many seconds nothing more may be embedded: 0 while less than the hard limit was spent."""
        hard = self.limits["hard"]
        if hard is None or self.spent_usd(now_us) < hard:
            return 0.0
        return (self._end - now_us) / 1e6

    def cause(self, now_us: int) -> str:
        """Say why nothing is embedded, and until when: for while `wait_s` is not 0."""
        self._turn(now_us)
        goes_on = f"{_EPOCH + timedelta(microseconds=self._end):%Y-%m-%d %H:%M} UTC"
        return f"the budget of {self.limits['hard']:.10g} USD a {self.per} is spent; it goes on at {goes_on}"

    def _of(self, stream: str) -> _Stream:
        return self._streams.setdefault(stream, _Stream())

    def _turn(self, now_us: int) -> None:
        """Begin a new period when it is time, or go back to one with the clock: all that was paid is old then."""
        if self._start <= now_us < self._end:
            return
        self._start, self._end = period(self.per, now_us)
        for known in self._streams.values():
            known.old, known.lost = known.paid, 0
            known.add_up(self._start, self._end)
