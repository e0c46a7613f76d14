"""PURE: which part of an account this worker may use, and how the workers lend each other what they do not need.

What holds at every moment: each worker's calls of the last window come to no more than its share, and the shares come
to 1 at most. So no window holds more than the limit, whoever lends what to whom. It rests on four rules.

- A share is only raised by a write that came to pass, out of what that very state had free.
- A share is lowered to what is still held of the account, never below; and first here, then in the log.
- A share counts from the start of the read or write that proved it for a lease, by one's own clock. The proof is one's
  own write, or a state in which nobody asks for a sign of life.
- Who gives none for a lease and a window after it was asked, and some more, by the clock of the one that waits, is
  dropped: it stopped when its lease ran out, and a window later nothing of it counts.

No two clocks are compared, and who has no reason to write writes nothing: nobody is asked before somebody needs more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from headwater.embedding.budget import Need
from headwater.model.shares import Division, Member

#: The part of an account that is left for newcomers: something goes at once, even while a dead worker holds the rest.
POOL = 0.01
#: What all workers together keep to start with when they have nothing to do.
START = 0.02
#: A wish that changed by so much is worth a write.
NEWS = 0.1
#: Two machines' clocks run alike within so much.
MARGIN = 1.1
#: A broker that has been replaced and does not know it yet answers reads for so long at most; and what goes arrives.
STALE_S = 10.0
#: Shares are multiples of one millionth.
_PARTS = 1_000_000


class Terms(msgspec.Struct, frozen=True):
    """How long what holds, in seconds, for an account with such a window."""

    step_s: float
    lease_s: float
    ttl_s: float

    @classmethod
    def of(cls, window_s: float) -> Terms:
        """Return the terms: looks a second apart at most, and a lease that outlives a short outage of the log."""
        lease = max(10.0, window_s / 4)
        return cls(min(1.0, window_s / 20), lease, (lease + window_s) * MARGIN + STALE_S)


class Move(msgspec.Struct, frozen=True):
    """What may be used until when, from now on; and what to propose for the log, if anything."""

    share: float
    until_s: float
    proposal: Division | None = None
    #: What may be used once the proposal came to pass.
    then: float = 0.0


def divided(wishes: Mapping[str, float]) -> dict[str, float]:
    """Divide an account, so that who wishes least is served first and the others share alike; what nobody wants too."""
    start = START / len(wishes)
    left, due = 1 - POOL, {}
    for place, (name, wish) in enumerate(sorted(wishes.items(), key=lambda it: (it[1], it[0]))):
        due[name] = min(max(wish, start), left / (len(wishes) - place))
        left -= due[name]
    return {name: amount + left / len(wishes) for name, amount in due.items()}


class Stake:
    """One worker's part in one account: what it saw of the others, and until when it may use what."""

    def __init__(self, member: str, window_s: float) -> None:
        self.terms = Terms.of(window_s)
        self._member = member
        self._until_s = -math.inf
        self._beat = 0
        # What may have been promised to others at a state of the log, by writes whose end nobody knows.
        self._promised = (-1, 1.0)
        self._seen: dict[str, tuple[tuple[int, bool], float]] = {}

    def decide(self, read: Division, asked_s: float, need: Need, now: float) -> Move:
        """Say what may be used, and what to propose, by a state that was asked for at `asked_s`. The budget is told
        before the proposal is written.
        """
        self._note(read, now)
        mine = read.members.get(self._member)
        if mine is not None and not mine.asked:
            self.renewed(asked_s)
        gone = {name for name, member in read.members.items() if member.asked and self._silent(name, now)}
        others = {name: it for name, it in read.members.items() if name != self._member and name not in gone}
        held = mine.share if mine else 0.0
        aim, share = self._aim(others, held, need)
        ask = self._to_ask(others, now) if mine is None or need.wish >= 1 else set()
        proposal = None
        if gone or ask or mine is None or mine.asked or self._is_news(read, mine, share, need):
            rows = {name: msgspec.structs.replace(it, asked=it.asked or name in ask) for name, it in others.items()}
            proposal = self._proposed(read, rows, self._row(share, need), need)
        return Move(min(held, aim, self._kept(read)), self._until_s, proposal, min(share, aim))

    def renewed(self, asked_s: float) -> float:
        """Return until when the share counts, now that a write came to pass that began at `asked_s`."""
        self._until_s = max(self._until_s, asked_s + self.terms.lease_s)
        return self._until_s

    def leave(self, read: Division, need: Need) -> Division | None:
        """Return what to propose when nothing more goes: only what still counts is kept, until somebody drops it."""
        mine = read.members.get(self._member)
        if mine is None:
            return None
        kept = msgspec.structs.replace(need, wish=0.0)
        row = msgspec.structs.replace(self._row(min(mine.share, _up(need.use)), kept), asked=True)
        return self._proposed(read, read.members, row, need)

    def _aim(self, others: Mapping[str, Member], held: float, need: Need) -> tuple[float, float]:
        """Return which share would be right, and which one to hold next."""
        wishes = {name: it.wish for name, it in others.items()}
        aim = divided({**wishes, self._member: need.wish})[self._member]
        if aim < held:
            return aim, min(held, _up(max(aim, need.use)))
        free = 1 - held - sum(it.share for it in others.values())
        start = min(START / (len(others) + 1), held + free / 2)
        return aim, max(held, _down(max(start, min(aim, held + free - POOL))))

    def _is_news(self, read: Division, mine: Member, share: float, need: Need) -> bool:
        news = abs(share - mine.share) >= START / 2 / len(read.members) or abs(need.wish - mine.wish) >= NEWS
        limits = (read.requests is None and need.requests) or (read.tokens is None and need.tokens)
        return news or bool(limits)

    def _row(self, share: float, need: Need) -> Member:
        # A number never comes twice, also when this worker was dropped in between: nobody takes its silence for older.
        self._beat += 1
        return Member(share=share, use=round(need.use, 3), wish=round(need.wish, 3), beat=self._beat)

    def _proposed(self, read: Division, others: Mapping[str, Member], row: Member, need: Need) -> Division:
        self._promised = (read.serial, min(row.share, self._kept(read)))
        return Division(
            serial=read.serial,
            members={**others, self._member: row},
            requests=read.requests or need.requests,
            tokens=read.tokens or need.tokens,
        )

    def _kept(self, read: Division) -> float:
        """Return the least that was proposed at this state: a write that seemed to fail may still come to pass."""
        return self._promised[1] if self._promised[0] == read.serial else 1.0

    def _note(self, read: Division, now: float) -> None:
        seen = {}
        for name, member in read.members.items():
            what = (member.beat, member.asked)
            before = self._seen.get(name)
            seen[name] = before if before is not None and before[0] == what else (what, now)
        self._seen = seen

    def _silent(self, name: str, now: float) -> bool:
        return name != self._member and now - self._seen[name][1] >= self.terms.ttl_s

    def _to_ask(self, others: Mapping[str, Member], now: float) -> set[str]:
        """Return whom to ask for a sign of life: a newcomer asks everybody, others whoever was silent for long."""
        newcomer = self._member not in self._seen
        return {name for name, it in others.items() if not it.asked and (newcomer or self._silent(name, now))}


def _up(share: float) -> float:
    return math.ceil(share * _PARTS) / _PARTS


def _down(share: float) -> float:
    return math.floor(share * _PARTS) / _PARTS
