"""PURE: whose texts go next. Live texts first, replay takes the rest, each has a minimum, and streams share fairly."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum

import msgspec

from headwater.embedding.batching import Fill

#: How many tokens a stream may send in its turn.
QUANTUM = 1024
#: The shares of the lanes are those of about so many seconds.
HORIZON_S = 10.0


class Lane(StrEnum):
    """Why a text is embedded: somebody changed it just now, or the past is read again."""

    LIVE = "live"
    REPLAY = "replay"


class Policy(msgspec.Struct, frozen=True):
    """How the lanes share.

    `reserve` is the part of the capacity, and of each budget, that replay leaves free for live texts. `minimum` is the
    part of the tokens that replay gets however much is live. A lane that was passed over for `aging_s` seconds sends
    one batch.
    """

    reserve: float = 0.0
    minimum: float = 0.05
    aging_s: float = 10.0


class Text(msgspec.Struct, frozen=True):
    """A text that waits: `key` is the caller's name for it, `bytes` its length in UTF-8, `since` when it came."""

    key: int
    lane: Lane
    stream: str
    bytes: int
    since: float


class Waiting(msgspec.Struct, frozen=True):
    """What waits in one lane: so many texts, of so many bytes, the first since then."""

    texts: int
    bytes: int
    since: float


class _Queue:
    """The texts of one lane. Streams take turns; what a turn leaves or overdraws of its tokens counts for the stream's
    next one, so that texts of any length share by tokens (deficit round robin).
    """

    def __init__(self, cost: Callable[[Text], float]) -> None:
        self._cost = cost
        self._streams: OrderedDict[str, deque[Text]] = OrderedDict()
        self._deficits: dict[str, float] = {}
        self._arrivals: OrderedDict[int, float] = OrderedDict()
        self._bytes = 0
        self._served = 0.0
        self.served_s = -math.inf

    def add(self, text: Text) -> None:
        self._streams.setdefault(text.stream, deque()).append(text)
        self._deficits.setdefault(text.stream, QUANTUM)
        self._arrivals[text.key] = text.since
        self._bytes += text.bytes

    def forget(self, keys: Collection[int]) -> None:
        for stream, texts in self._streams.items():
            gone = [text for text in texts if text.key in keys]
            if gone:
                self._streams[stream] = deque(text for text in texts if text.key not in keys)
            for text in gone:
                self._bytes -= text.bytes
                del self._arrivals[text.key]

    def waiting(self) -> Waiting:
        since = next(iter(self._arrivals.values()), math.inf)
        return Waiting(len(self._arrivals), self._bytes, since)

    def head(self) -> Text | None:
        """Return the text whose turn it is."""
        while self._streams:
            stream, texts = next(iter(self._streams.items()))
            if texts and self._deficits[stream] > 0:
                return texts[0]
            if texts:
                self._deficits[stream] += QUANTUM
                self._streams.move_to_end(stream)
            else:
                del self._streams[stream], self._deficits[stream]
        return None

    def take(self, fill: Fill) -> list[Text]:
        taken: list[Text] = []
        while (text := self.head()) is not None and fill.add(text):
            self._streams[text.stream].popleft()
            self._deficits[text.stream] -= self._cost(text)
            self._bytes -= text.bytes
            del self._arrivals[text.key]
            taken.append(text)
        return taken

    def serve(self, tokens: float, now: float) -> None:
        self._served = self.served(now) + tokens
        self.served_s = now

    def served(self, now: float) -> float:
        return self._served * math.exp((self.served_s - now) / HORIZON_S) if self._served else 0.0


class Lanes:
    """What waits, by lane and stream. `cost(text)` is a text's tokens, by which the lanes and streams share.

    Time is in seconds of any monotonic clock.
    """

    def __init__(self, policy: Policy, cost: Callable[[Text], float]) -> None:
        self._policy = policy
        self._queues = {lane: _Queue(cost) for lane in Lane}

    def add(self, text: Text) -> None:
        """Let a text wait. Its key must be no other waiting text's."""
        self._queues[text.lane].add(text)

    def forget(self, keys: Collection[int]) -> None:
        """Take texts out that nobody waits for any more."""
        for queue in self._queues.values():
            queue.forget(keys)

    def waiting(self, lane: Lane) -> Waiting:
        """Say how much waits."""
        return self._queues[lane].waiting()

    def head(self, lane: Lane) -> Text | None:
        """Return the text that `take` would put in first."""
        return self._queues[lane].head()

    def take(self, lane: Lane, fill: Fill) -> list[Text]:
        """Move texts of the lane into `fill` until it is full, and return them."""
        return self._queues[lane].take(fill)

    def serve(self, lane: Lane, tokens: float, now: float) -> None:
        """Learn that a call of the lane went, with so many tokens."""
        self._queues[lane].serve(tokens, now)

    def owed(self, now: float) -> bool:
        """Say whether replay has less than its minimum, or was passed over for too long: then it goes first, and no
        reserve is kept from it.
        """
        replay, live = self._queues[Lane.REPLAY], self._queues[Lane.LIVE]
        if now - max(replay.served_s, replay.waiting().since) >= self._policy.aging_s:
            return True
        mine, theirs = replay.served(now), live.served(now)
        return mine < self._policy.minimum * (mine + theirs)

    def order(self, ready: Collection[Lane], now: float) -> Sequence[Lane]:
        """Return the lanes that have something to send, the next one first."""
        lanes = (Lane.REPLAY, Lane.LIVE) if self.owed(now) else (Lane.LIVE, Lane.REPLAY)
        return [lane for lane in lanes if lane in ready]

    def kept(self, lane: Lane, now: float) -> float:
        """Return the share of the capacity and the budgets that a call of this lane must leave free."""
        return self._policy.reserve if lane is Lane.REPLAY and not self.owed(now) else 0.0
