"""PURE: what an account may still send: its requests and tokens per window, as configured and as the service says.

The service's windows may be fixed or sliding, and may begin when they like, so the books are kept for the strictest:
no interval of a window's length holds more than the limit. A call is booked before it goes, with the most that it is
expected to cost, and corrected by what the service counted. A service that can refuse a call counts it when it comes,
so a call is held for a window from then on, or until the service says that the limit is whole again. One that refuses a
call although our books have room counts otherwise: from then on calls are held for a window from their answer on.
"""

from __future__ import annotations

import heapq
import math

import msgspec

from headwater.embedding.pace import Pace
from headwater.embedding.port import Allowance
from headwater.embedding.retries import backoff_s

#: Services say when a limit is whole in rounded figures: come a little later.
GUARD_S = 0.002

#: A call has come at most so long after it went.
ARRIVAL_S = 0.05
#: A refusal shows that they took so many times as long.
LATER = 4
#: And each answer that it was a disturbance.
SOONER = 0.99

#: A call waits for room for all of it at most so long; beyond that, a smaller one goes.
PATIENCE_S = 0.2
#: A part of a call that goes without any waiting for the rest.
ENOUGH = 0.75
#: The smallest part of a call that is worth a request.
SMALLEST = 1 / 4

#: Whoever is not alone on an account asks again so soon: there may be more room, and nobody tells of it.
LENT_S = 0.25
#: Who has so much of an account has all that there is to have: the others keep only what they start with.
ALL = 0.9


class Hold(msgspec.Struct):
    """What one call has booked of one limit, when it went, and how much more it may cost at the worst."""

    amount: float
    doubt: float
    sent_s: float


class Need(msgspec.Struct, frozen=True):
    """What a worker has in its books of an account, and what it wants, as parts of the limit that is nearest.

    `requests` and `tokens` are the limits, as far as this worker knows them.
    """

    use: float
    wish: float
    requests: float | None = None
    tokens: float | None = None


class Quota:
    """The books of one limit: `limit` in each window of `window_s` seconds. None: no limit is known.

    `share` is the part of the account that is this worker's; what others use within theirs is none of its business.
    """

    def __init__(self, limit: float | None, window_s: float, share: float = 1.0) -> None:
        self.limit = limit
        self.share = share
        self._window_s = window_s
        self._trusting = True
        self._arrival_s = ARRIVAL_S
        self._used = 0.0
        self._doubt = 0.0
        self._answered: list[tuple[float, float]] = []
        self._foreign = (-math.inf, 0.0)

    def room(self, keep: float, now: float) -> float:
        """Return how much may be booked now when the share `keep` of the limit is to stay free."""
        if self.share <= 0:
            return -math.inf
        if self.limit is None:
            return math.inf
        self._release(now)
        return self.limit * self.share * (1 - keep) - self._used - self._foreign[1]

    def whole(self, keep: float) -> float:
        """Return what there is when nothing is used, and the share `keep` stays free."""
        return math.inf if self.limit is None else self.limit * self.share * (1 - keep)

    def wait_s(self, amount: float, keep: float, now: float) -> float:
        """Return in how many seconds so much fits; inf when that depends on calls under way.

        What is more than the limit is let through once everything is free: the service must decide. With a part of the
        account it waits for the rest.
        """
        room = self.room(keep, now)
        if self.limit is not None and self.share >= ALL:
            amount = min(amount, self.whole(keep))
        if amount <= room:
            return 0.0
        foreign_ends, foreign = self._foreign
        for ends, part in sorted([*self._answered, (foreign_ends, foreign)]):
            room += part
            if amount <= room:
                return max(0.0, ends - now)
        return math.inf

    @property
    def doubt(self) -> float:
        """How much more than booked the calls under way may cost at the worst."""
        return self._doubt

    def use(self, now: float) -> float:
        """Return what is held of the limit at the worst, as a part of it; 0 where no limit is known."""
        self._release(now)
        return (self._used + self._doubt) / self.limit if self.limit else 0.0

    def book(self, amount: float, doubt: float, now: float) -> Hold:
        """Book so much, until `settle`."""
        self._used += amount
        self._doubt += doubt
        return Hold(amount, doubt, now)

    def settle(self, hold: Hold, amount: float, said: Allowance, now: float) -> None:
        """Correct a booking by what the service counted, and learn from what it said with the answer."""
        self._used += amount - hold.amount
        self._doubt -= hold.doubt
        ends = min(now, hold.sent_s + self._arrival_s) + self._window_s
        self._arrival_s = max(ARRIVAL_S, self._arrival_s * SOONER)
        if self._trusting and said.reset_s is not None:
            ends = min(ends, now + said.reset_s)
        heapq.heappush(self._answered, (ends + GUARD_S, amount))
        # Some services send -1 or 0 where they have no limit.
        if said.limit is not None and said.limit > 0:
            self.limit = said.limit
            if said.left is not None and said.left >= 0:
                self._compare(said.limit, said.left, ends + GUARD_S, now)

    def _compare(self, limit: int, left: int, ends: float, now: float) -> None:
        """What the service counted beyond our books and the others' shares is use that nobody told us of."""
        self._release(now)
        foreign = limit - left - self._used - (1 - self.share) * limit
        self._foreign = (ends, foreign) if foreign > 0 else (-math.inf, 0.0)

    def distrust(self) -> None:
        """The service refused what the books had room for: calls came later than was thought, or what it says of its
        windows is wrong. In the end every call is held for a window from its answer on.
        """
        self._trusting = False
        self._arrival_s *= LATER

    def _release(self, now: float) -> None:
        while self._answered and self._answered[0][0] <= now:
            self._used -= heapq.heappop(self._answered)[1]
        if self._foreign[0] <= now:
            self._foreign = (-math.inf, 0.0)


class Booking(msgspec.Struct):
    """What one call has booked, and when it went."""

    requests: Hold
    tokens: Hold
    sent_s: float


class Fit(msgspec.Struct, frozen=True):
    """How many tokens a call may hold now; or none, and in how many seconds to ask again (inf: after an answer).

    `near`: a bound is not good enough, the limit is too close for what this call and those under way may cost.
    """

    tokens: float
    wait_s: float = 0.0
    near: bool = False


class Budget:
    """The limits of one account at one service: shared by all that use the account in this process.

    Time is in seconds of any monotonic clock.
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None, window_s: float = 60.0) -> None:
        self.window_s = window_s
        self.requests = Quota(requests, window_s)
        self.tokens = Quota(tokens, window_s)
        self._until_s = math.inf
        self._short_s = -math.inf
        self._pace = Pace()
        self._under_way = 0
        self._heard = False
        self._refusals = 0
        self._users = 0
        self._paused_s = -math.inf

    def join(self) -> None:
        """Be used by one more dispatcher."""
        self._users += 1

    @property
    def refusals(self) -> int:
        """How often the account was refused in a row, and granted nothing between."""
        return self._refusals

    def set_share(self, share: float, until_s: float = math.inf) -> None:
        """Use this part of the account from now on, between 0 and 1, and nothing from `until_s` on: whoever was stopped
        for long finds out by itself, whatever runs first.
        """
        self.requests.share = self.tokens.share = share
        self._until_s = until_s

    def learn(self, requests: float | None, tokens: float | None) -> None:
        """Take over the limits that another worker knows, where none is known here."""
        self.requests.limit = self.requests.limit or requests
        self.tokens.limit = self.tokens.limit or tokens

    def need(self, now: float) -> Need:
        """Say what is in the books and what is wanted: everything when calls had to wait for room within the last
        window, else a tenth more than is used.
        """
        use = max(self.requests.use(now), self.tokens.use(now))
        wish = 1.0 if now < self._short_s + self.window_s else min(1.0, 1.1 * use)
        return Need(use, wish, self.requests.limit, self.tokens.limit)

    def fit(self, need: float, most: float, worst: float, keep: float, now: float) -> Fit:
        """Say how large a call may be that must hold `need` tokens and could hold `most`, `worst` if the estimates are
        all wrong; the share `keep` stays free.

        The first call goes alone: its answer says what the limits are and what was used before us.
        """
        if now >= self._until_s:
            self.set_share(0.0)
        if not self._heard and self._under_way:
            return Fit(0, self._bounded(math.inf))
        wait = max(self._paused_s - now, self._pace.wait_s(now))
        if wait > 0:
            return Fit(0, wait)
        most = max(need, min(most, self.tokens.whole(keep)))
        wait, whole = self.requests.wait_s(1, keep, now), self.tokens.wait_s(most, keep, now)
        if wait <= 0 and whole <= 0:
            near = worst > self.tokens.room(keep, now) - self.tokens.doubt
            return Fit(most if self.tokens.limit is not None else math.inf, near=near)
        self._short_s = now
        least = max(need, most * (ENOUGH if whole <= PATIENCE_S else SMALLEST))
        wait = max(wait, self.tokens.wait_s(least, keep, now))
        if wait > 0:
            return Fit(0, self._bounded(wait))
        return Fit(max(least, self.tokens.room(keep, now)), near=True)

    def _bounded(self, wait_s: float) -> float:
        """Whoever is not alone is not told when room comes: by another's answer, or with a larger share."""
        alone = self._users <= 1 and self.tokens.share >= 1
        return wait_s if alone else min(wait_s, LENT_S)

    def book(self, tokens: float, worst: float, now: float) -> Booking:
        """Book a call that goes now, of at most so many tokens by the estimate, and of `worst` if that is wrong."""
        self._under_way += 1
        self._pace.sent(now)
        return Booking(self.requests.book(1, 0, now), self.tokens.book(tokens, worst - tokens, now), now)

    def answered(
        self, booking: Booking, tokens: int, requests_said: Allowance, tokens_said: Allowance, now: float
    ) -> None:
        """Settle a call by its answer: `tokens` is what the service counted, 0 where it does not count."""
        self._under_way -= 1
        self._heard = True
        self._refusals = 0
        self._pace.accepted()
        self.requests.settle(booking.requests, 1, requests_said, now)
        self.tokens.settle(booking.tokens, tokens or booking.tokens.amount, tokens_said, now)

    def failed(self, booking: Booking, now: float) -> None:
        """Settle a call of which nobody knows whether the service did its work: it may count."""
        self._under_way -= 1
        self.requests.settle(booking.requests, 1, Allowance(), now)
        self.tokens.settle(booking.tokens, booking.tokens.amount, Allowance(), now)

    def refused(self, booking: Booking, after_s: float | None, roll: float, now: float) -> None:
        """Settle a call that the service refused for the account's limits. Its text was not counted, it may have been.

        By our books there was room, so they lack something: all pause; and where no limit is known, calls then go at
        the pace that was accepted.
        """
        self._under_way -= 1
        self.requests.settle(booking.requests, 1, Allowance(), now)
        self.tokens.settle(booking.tokens, 0, Allowance(), now)
        self.requests.distrust()
        self.tokens.distrust()
        first = booking.sent_s >= self._paused_s
        self._refusals += first
        if self.requests.limit is None and self.tokens.limit is None:
            self._pace.refused(first=first, now=now)
        # Never at once: many streams stand behind one account.
        pause = backoff_s(self._refusals + 1, 0.5 + roll / 2, after_s)
        self._paused_s = max(self._paused_s, now + pause)
