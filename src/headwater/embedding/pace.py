"""PURE: the rate that an account is granted, learnt from refusals where the service does not say its limits."""

from __future__ import annotations

import math

#: After a refusal go at this part of what was granted.
CUT = 0.97
#: One refusal lowers the rate to this part of itself at the least.
DEEPEST = 0.85
#: By how much the rate grows with each call, and after how many without a refusal twice as fast.
GROWTH = 0.001
HASTE = 50
#: Fewer calls than this say nothing of a rate.
FEWEST = 20
#: The rate before the first refusal is that of the last so many seconds: calls begin slowly.
RECENT_S = 2.0


class Pace:
    """Spaces calls evenly at the rate that was granted between two refusals, and grows from there to find the next.

    Before the first refusal there is no pace. Growth is by calls and not by time, so that a slow service is not asked
    in vain more often than a fast one. Time is in seconds of any monotonic clock.
    """

    def __init__(self) -> None:
        self._rate = math.inf
        self._granted = 0
        self._since_s = math.inf
        self._grown = 0
        self._fresh = False
        self._next_s = -math.inf
        self._last_s = -math.inf

    def wait_s(self, now: float) -> float:
        """Return in how many seconds the next call may go."""
        return max(0.0, self._next_s - now)

    def sent(self, now: float) -> None:
        """Learn that a call goes. Until it is refused it counts as granted."""
        if math.isinf(self._rate) and now - self._last_s > RECENT_S:
            # Nobody asked for more meanwhile: that tells nothing of what is granted.
            self._granted, self._since_s = 0, now
        self._last_s = now
        if math.isinf(self._rate) and now - self._since_s > RECENT_S:
            # Forget the older half; what is left is good enough for a first guess.
            self._granted //= 2
            self._since_s += (now - self._since_s) / 2
        self._since_s = min(self._since_s, now)
        self._granted += 1
        self._grown += 1
        gap = 1 / self._rate_now()
        self._next_s = max(self._next_s, now - gap) + gap

    def accepted(self) -> None:
        """Learn that the service granted a call."""
        self._fresh = True

    def refused(self, *, first: bool, now: float) -> None:
        """Learn that the service refused a call: the first since the account paused, or another of the same moment."""
        self._granted -= 1
        if not (first and self._fresh) or now <= self._since_s:
            return  # the same refusal still: nothing was granted since
        rate = self._rate_now()
        if self._granted >= FEWEST or math.isinf(rate):
            granted = max(self._granted, 1) / (now - self._since_s)
            self._rate = CUT * (granted if math.isinf(rate) else min(max(granted, rate * DEEPEST), rate))
            self._granted, self._since_s = 0, now
        else:
            self._rate = CUT * rate
        self._grown, self._fresh = 0, False

    def _rate_now(self) -> float:
        return self._rate * (1 + GROWTH * self._grown * (1 + self._grown / HASTE))
