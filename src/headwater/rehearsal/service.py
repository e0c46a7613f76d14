"""What a faulty provider answers to a request at a moment. Told the time; pure but for what it has counted.

The whole schedule of a request is decided when it arrives: a service that takes requests in order, some at once, knows
then when each will start and end. Times are whole microseconds since the start.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from hashlib import blake2b
from heapq import heappush, heapreplace

import msgspec

from headwater.rehearsal.counting import Counting
from headwater.rehearsal.plan import Behaviour, Fault, Plan
from headwater.rehearsal.windows import Account, Exceeded, Standing


class Why(StrEnum):
    """Why a request gets no vectors."""

    MALFORMED = "malformed"
    REDIRECTED = "redirected"
    HTML = "html"
    BAD_KEY = "bad_key"
    NO_MODEL = "no_model"
    NO_QUOTA = "no_quota"
    NO_TEXT = "no_text"
    EMPTY_TEXT = "empty_text"
    TOO_LARGE = "too_large"
    TOO_MANY_TEXTS = "too_many_texts"
    TEXT_TOO_LONG = "text_too_long"
    TOO_MANY_TOKENS = "too_many_tokens"
    BAD_DIMENSIONS = "bad_dimensions"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    POISON = "poison"
    SERVER_ERROR = "server_error"
    BAD_GATEWAY = "bad_gateway"


#: The faults that answer before anything is counted, and those that hold a place for the time of a batch.
_AT_THE_DOOR = {
    Fault.REDIRECT: Why.REDIRECTED,
    Fault.HTML: Why.HTML,
    Fault.BAD_KEY: Why.BAD_KEY,
    Fault.NO_MODEL: Why.NO_MODEL,
    Fault.NO_QUOTA: Why.NO_QUOTA,
    Fault.STORM: Why.RATE_LIMITED,
    Fault.UNAVAILABLE: Why.OVERLOADED,
}
_AT_WORK = {Fault.SERVER_ERROR: Why.SERVER_ERROR, Fault.BAD_GATEWAY: Why.BAD_GATEWAY}
SPOILING = tuple(fault for fault in Fault if fault not in _AT_THE_DOOR and fault not in _AT_WORK)
#: The faults that can strike a line of a job, which has no connection of its own, and a request about jobs and files,
#: which asks for no vectors.
_OF_LINES = frozenset(SPOILING) - {Fault.CUT} | {Fault.NO_MODEL, Fault.SERVER_ERROR}
_OF_ERRANDS = frozenset(_AT_THE_DOOR) - {Fault.NO_MODEL} | frozenset(_AT_WORK) | {Fault.TIMEOUT, Fault.CUT}


class Ask(msgspec.Struct, frozen=True):
    """A request, whatever its shape. `model` is None where the shape names none."""

    key: str
    model: str | None
    texts: tuple[str, ...]
    size: int
    truncate: bool = False  # it wants what is too long to be cut
    dimensions: int | None = None
    base64: bool = False

    def __repr__(self) -> str:
        return f"Ask({len(self.texts)} texts)"


class Refusal(msgspec.Struct, frozen=True):
    """No vectors, and why. `text` says which text, where the service does; `retry_us` when to come again, and `status`
    what a full queue is told.
    """

    why: Why
    text: int | None = None
    retry_us: int | None = None
    exceeded: Exceeded | None = None
    status: int | None = None


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a request: refused, or in work from `start_us` to `end_us` and answered then.

    `admitted` is one that the account's limits count: `tokens` are what it costs, `reported` what the answer says.
    `texts` are those that are embedded, cut where the service cuts. `faults` struck. `rotation` is by how many places
    the items of the answer are moved. `requests_left` and `tokens_left` are for the headers.
    """

    number: int
    account: int
    arrived_us: int
    start_us: int
    end_us: int
    admitted: bool = False
    texts: tuple[str, ...] = ()
    tokens: int = 0
    reported: int = 0
    refusal: Refusal | None = None
    faults: tuple[Fault, ...] = ()
    rotation: int = 0
    drift: float = 0.0
    requests_left: Standing | None = None
    tokens_left: Standing | None = None

    def __repr__(self) -> str:
        return f"Verdict({self.number}, {self.refusal}, faults={self.faults})"


def chance(seed: int, number: int, what: str) -> float:
    """Return a number in [0, 1) that hangs on nothing but these three."""
    digest = blake2b(f"{seed} {number} {what}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


class Service:
    """A provider that behaves as its plan says."""

    def __init__(self, plan: Plan, counting: Counting) -> None:
        self.plan = plan
        self._counting = counting
        self._set: Behaviour | None = None
        self._number = 0
        self._accounts: dict[str, tuple[int, Account]] = {}
        self._ends: list[int] = []  # a heap: when each of the places is free again
        self._starts: deque[int] = deque()  # of the requests that wait, in order

    def behave(self, behaviour: Behaviour) -> None:
        """Behave like this from now on, whatever the plan says."""
        self._set = behaviour

    def decide(self, now_us: int, ask: Ask | None) -> Verdict:
        """Return what becomes of a request that arrives now; None is one that could not be read."""
        number, behaviour = self._next(now_us)
        index, account = self._account(ask.key if ask else "")
        if ask is None:
            return Verdict(number, index, now_us, now_us, now_us, refusal=Refusal(Why.MALFORMED))
        struck = self._struck(behaviour, number, frozenset(Fault))
        counts, kept = self._sized(ask, behaviour)
        refusal = self._at_the_door(ask, struck, behaviour, kept) or self._over(now_us, account, sum(kept))
        admitted = refusal is None
        if refusal is None:
            account.take(now_us, sum(kept))
            refusal = self._at_work(ask, struck, behaviour)
        draft = Verdict(
            number,
            index,
            now_us,
            now_us,
            now_us,
            admitted=admitted,
            tokens=sum(kept),
            refusal=refusal,
            faults=_effective(struck, refusal),
            requests_left=account.standing(now_us, "requests"),
            tokens_left=account.standing(now_us, "tokens"),
        )
        return self._scheduled(draft, ask, behaviour, counts, kept)

    def decide_errand(self, now_us: int, key: str) -> Verdict:
        """Return what becomes of a request about jobs and files. It costs no time and none of the account's limits."""
        number, behaviour = self._next(now_us)
        struck = self._struck(behaviour, number, _OF_ERRANDS)
        refusal = self._kept_out(key, struck, behaviour) or _failed(struck)
        faults = _effective(struck, refusal)
        return Verdict(number, self._account(key)[0], now_us, now_us, now_us, refusal=refusal, faults=faults)

    def decide_line(self, now_us: int, key: str, ask: Ask | None) -> Verdict:
        """Return what becomes of a line of a job of `key` now. Jobs have a pool apart from the account's limits."""
        number, behaviour = self._next(now_us)
        index, _ = self._account(key)
        if ask is None:
            return Verdict(number, index, now_us, now_us, now_us, refusal=Refusal(Why.MALFORMED))
        struck = self._struck(behaviour, number, _OF_LINES)
        counts, kept = self._sized(ask, behaviour)
        refusal = self._at_the_door(ask, struck, behaviour, kept) or self._at_work(ask, struck, behaviour)
        draft = Verdict(
            number,
            index,
            now_us,
            now_us,
            now_us,
            tokens=sum(kept),
            refusal=refusal,
            faults=_effective(struck, refusal),
        )
        return draft if refusal else self._embedded(draft, ask, behaviour, counts, kept)

    def count(self, ask: Ask) -> list[int]:
        """Return the tokens of each text."""
        return [self._counting.count(text) for text in ask.texts]

    def _next(self, now_us: int) -> tuple[int, Behaviour]:
        number, self._number = self._number, self._number + 1
        return number, self._behaviour(now_us, number)

    def _account(self, key: str) -> tuple[int, Account]:
        return self._accounts.setdefault(key, (len(self._accounts), Account(self.plan.limits)))

    def _struck(self, behaviour: Behaviour, number: int, by: frozenset[Fault]) -> tuple[Fault, ...]:
        shares = sorted(behaviour.shares.items())
        return tuple(it for it, share in shares if it in by and chance(self.plan.seed, number, it) < share)

    def _behaviour(self, now_us: int, number: int) -> Behaviour:
        if self._set is not None:
            return self._set
        phases = (phase.behaviour for phase in reversed(self.plan.phases) if phase.holds(now_us, number))
        return next(phases, self.plan.behaviour)

    def _sized(self, ask: Ask, behaviour: Behaviour) -> tuple[list[int], list[int]]:
        """Return how many tokens each text has, and how many of them are embedded."""
        most = self.plan.max_text_tokens if ask.truncate else None
        if behaviour.truncate_tokens is not None:
            most = min(behaviour.truncate_tokens, most or behaviour.truncate_tokens)
        counts = self.count(ask)
        return counts, [count if most is None else min(count, most) for count in counts]

    def _at_the_door(
        self, ask: Ask, struck: tuple[Fault, ...], behaviour: Behaviour, kept: list[int]
    ) -> Refusal | None:
        refusal = self._kept_out(ask.key, struck, behaviour)
        if refusal is not None:
            return refusal
        if ask.model not in (None, self.plan.model):
            return Refusal(Why.NO_MODEL)
        return self._unfit(ask, kept)

    def _kept_out(self, key: str, struck: tuple[Fault, ...], behaviour: Behaviour) -> Refusal | None:
        """Refuse whoever asks, whatever for."""
        for fault, why in _AT_THE_DOOR.items():
            if fault in struck:
                passes = fault in (Fault.STORM, Fault.UNAVAILABLE)
                return Refusal(why, retry_us=round(behaviour.retry_s * 1e6) if passes else None)
        if self.plan.keys and key not in self.plan.keys:
            return Refusal(Why.BAD_KEY)
        return None

    def _unfit(self, ask: Ask, kept: list[int]) -> Refusal | None:
        """Refuse what no request may hold."""
        plan = self.plan
        if plan.max_bytes is not None and ask.size > plan.max_bytes:
            return Refusal(Why.TOO_LARGE)
        if not ask.texts:
            return Refusal(Why.NO_TEXT)
        if "" in ask.texts:
            return Refusal(Why.EMPTY_TEXT, text=ask.texts.index(""))
        if len(ask.texts) > plan.max_texts:
            return Refusal(Why.TOO_MANY_TEXTS)
        for index, count in enumerate(kept):
            if count > plan.max_text_tokens:
                return Refusal(Why.TEXT_TOO_LONG, text=index)
        if sum(kept) > plan.max_tokens:
            return Refusal(Why.TOO_MANY_TOKENS)
        if ask.dimensions is not None and not 1 <= ask.dimensions <= plan.dimensions:
            return Refusal(Why.BAD_DIMENSIONS)
        return None

    def _over(self, now_us: int, account: Account, tokens: int) -> Refusal | None:
        """Refuse what the account's limits or the queue have no room for."""
        exceeded = account.exceeded(now_us, tokens)
        if exceeded is not None:
            account.take_refused(now_us)
            return Refusal(Why.RATE_LIMITED, retry_us=exceeded.wait_us, exceeded=exceeded)
        while self._starts and self._starts[0] <= now_us:
            self._starts.popleft()
        free_us = self._free_us(now_us)
        if free_us > now_us and len(self._starts) >= self.plan.queue:
            room_us = self._starts[0] if self._starts else free_us
            return Refusal(Why.OVERLOADED, retry_us=room_us - now_us, status=self.plan.overflow)
        return None

    def _at_work(self, ask: Ask, struck: tuple[Fault, ...], behaviour: Behaviour) -> Refusal | None:
        failed = _failed(struck)
        if failed is not None:
            return failed
        for index, text in enumerate(ask.texts if behaviour.poison else ()):
            if any(poison in text for poison in behaviour.poison):
                return Refusal(Why.POISON, text=index if behaviour.poison_named else None)
        return None

    def _scheduled(self, draft: Verdict, ask: Ask, behaviour: Behaviour, counts: list[int], kept: list[int]) -> Verdict:
        """Give a request its time, and what is embedded of it where it is not refused."""
        refused = draft.refusal is not None
        if draft.refusal is not None and draft.refusal.why not in _AT_WORK.values():
            return draft
        took_us = round(1e3 * (behaviour.batch_ms + (0 if refused else behaviour.item_ms * len(ask.texts))))
        start_us = self._place(draft.arrived_us, took_us)
        draft = msgspec.structs.replace(draft, start_us=start_us, end_us=start_us + took_us)
        return draft if refused else self._embedded(draft, ask, behaviour, counts, kept)

    def _embedded(self, draft: Verdict, ask: Ask, behaviour: Behaviour, counts: list[int], kept: list[int]) -> Verdict:
        """Say what is embedded of a request."""
        texts = (
            text if count == all_of_it else self._counting.cut(text, count)
            for text, count, all_of_it in zip(ask.texts, kept, counts, strict=True)
        )
        return msgspec.structs.replace(
            draft,
            texts=tuple(texts),
            reported=sum(counts if behaviour.truncation_hidden else kept),
            rotation=self._rotation(draft, len(ask.texts)),
            drift=behaviour.drift,
        )

    def _rotation(self, draft: Verdict, texts: int) -> int:
        if Fault.REORDERED not in draft.faults or texts < 2:
            return 0
        return 1 + int(chance(self.plan.seed, draft.number, "rotation") * (texts - 1))

    def _free_us(self, now_us: int) -> int:
        """Return when a place is free: places are given in the order of arrival, so the first to end is the next."""
        if self.plan.at_once is None or len(self._ends) < self.plan.at_once:
            return now_us
        return max(now_us, self._ends[0])

    def _place(self, now_us: int, took_us: int) -> int:
        """Take a place for some time; return when that begins."""
        start_us = self._free_us(now_us)
        if self.plan.at_once is None:
            return start_us
        if len(self._ends) < self.plan.at_once:
            heappush(self._ends, start_us + took_us)
        else:
            heapreplace(self._ends, start_us + took_us)
        if start_us > now_us:
            self._starts.append(start_us)
        return start_us


def _failed(struck: tuple[Fault, ...]) -> Refusal | None:
    return next((Refusal(why) for fault, why in _AT_WORK.items() if fault in struck), None)


def _effective(struck: tuple[Fault, ...], refusal: Refusal | None) -> tuple[Fault, ...]:
    """Return the faults that made a difference: the one behind a refusal, or all that spoil an answer."""
    if refusal is None:
        return tuple(fault for fault in SPOILING if fault in struck)
    causes = {**_AT_THE_DOOR, **_AT_WORK}
    return tuple(fault for fault, why in causes.items() if fault in struck and why is refusal.why)[:1]
