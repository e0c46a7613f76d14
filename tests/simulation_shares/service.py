"""A service that only counts, and the judge of what it counted: it knows nothing of shares or books."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from headwater.embedding.port import Allowance

#: Arithmetic of this judge is exact to so much.
GRAIN = 1e-6


@dataclass
class Counted:
    at_s: float
    worker: str
    tokens: int


@dataclass
class Service:
    """`fixed`: its windows begin at `phase_s` and every `window_s` after; else one ends at every moment. It never
    refuses: what goes above a limit shows. `says`: its answers tell the limits.
    """

    requests: int
    tokens: int
    window_s: float
    fixed: bool = False
    phase_s: float = 0.0
    says: bool = False
    log: list[Counted] = field(default_factory=list)
    _recent: deque[Counted] = field(default_factory=deque)

    def count(self, worker: str, tokens: int, now: float) -> tuple[Allowance, Allowance]:
        call = Counted(now, worker, tokens)
        self.log.append(call)
        self._recent.append(call)
        if not self.says:
            return Allowance(), Allowance()
        begin = self._begin(now) if self.fixed else now - self.window_s
        while self._recent and self._recent[0].at_s <= begin:
            self._recent.popleft()
        reset = begin + self.window_s - now if self.fixed else self.window_s
        used = sum(it.tokens for it in self._recent)
        return (
            Allowance(self.requests, max(0, self.requests - len(self._recent)), reset),
            Allowance(self.tokens, max(0, self.tokens - used), reset),
        )

    def _begin(self, now: float) -> float:
        return math.floor((now - self.phase_s) / self.window_s) * self.window_s + self.phase_s

    # --- the judge

    def peaks(self) -> dict[str, float]:
        """The fullest of all windows that it might count, as parts of the limits. Who follows what a service says of
        its fixed windows is judged by these, everybody else by every window there is.
        """
        if self.fixed and self.says:
            return self._peak(self._fixed(self.phase_s))
        every = [self._sliding(), *(self._fixed(self.phase_s + part * self.window_s / 7) for part in range(7))]
        peaks = [self._peak(windows) for windows in every]
        return {name: max(peak[name] for peak in peaks) for name in ("requests", "tokens")}

    def _peak(self, windows: Iterable[tuple[int, int]]) -> dict[str, float]:
        requests = tokens = 0
        for calls, amount in windows:
            requests, tokens = max(requests, calls), max(tokens, amount)
        return {"requests": requests / self.requests, "tokens": tokens / self.tokens}

    def _sliding(self) -> Iterable[tuple[int, int]]:
        first = amount = 0
        for number, call in enumerate(self.log):
            amount += call.tokens
            while self.log[first].at_s <= call.at_s - self.window_s + GRAIN:
                amount -= self.log[first].tokens
                first += 1
            yield number - first + 1, amount

    def _fixed(self, phase: float) -> Iterable[tuple[int, int]]:
        windows: dict[int, tuple[int, int]] = {}
        for call in self.log:
            number = math.floor((call.at_s - phase) / self.window_s)
            calls, amount = windows.get(number, (0, 0))
            windows[number] = calls + 1, amount + call.tokens
        return windows.values()

    def filled(self, since: float, until: float, worker: str | None = None) -> float:
        """How full the windows were that ended within a time, in the mean, as a part of the token limit."""
        samples = 200
        held = 0
        for number in range(samples):
            end = since + (until - since) * (number + 0.5) / samples
            held += sum(
                it.tokens
                for it in self.log
                if end - self.window_s < it.at_s <= end and (worker is None or worker == it.worker)
            )
        return held / samples / self.tokens

    def sent(self, since: float, until: float, worker: str) -> int:
        """Tokens that one worker's calls had in a time."""
        return sum(it.tokens for it in self.log if since < it.at_s <= until and it.worker == worker)
