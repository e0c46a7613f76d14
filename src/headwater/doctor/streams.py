"""Judges where a stream stands: what keeps it from its work, and what of it waits, PURE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.doctor.faults import fault
from headwater.errors import Halt, HeadwaterError, Misconfigured, Reject, Unreachable
from headwater.observability.findings import Finding, counted, in_order
from headwater.recipe.options import PayloadField
from headwater.recipe.payload import TITLE, payload
from headwater.settings.schema import PayloadSettings


@dataclass(frozen=True)
class Spent:
    """What an account with a hard budget spent of it, in US dollars."""

    account: str
    usd: float
    hard_usd: float
    per: str


@dataclass(frozen=True)
class FoundStream:
    """A stream as log and index have it.

    `alone`: only one worker works on the log, and `worker` is its process, if one runs. `oldest_s` is the age of the
    oldest change that waits, None where none does. `bodies` are those of the newest documents that the recipe passes.
    """

    name: str
    index: str
    freshness_s: float
    paused: str = ""
    letters: int = 0
    reason: str = ""
    changes: int = 0
    settled: int = 0
    oldest_s: float | None = None
    alone: bool = True
    worker: int | None = None
    indexed: bool = False
    obstacle: HeadwaterError | None = None
    spent: Spent | None = None
    payload: Mapping[str, PayloadSettings] | None = None
    bodies: Sequence[Mapping[str, Any]] = ()


def judge_stream(found: FoundStream) -> list[Finding]:
    """Judge one stream."""
    faults = [*_index(found), *_way(found), *_waiting(found), *_payload(found)]
    if faults:
        return faults
    return [in_order("stream", found.name, f"changes: {found.settled} settled, {found.changes} waiting")]


def _index(found: FoundStream) -> Iterator[Finding]:
    error = found.obstacle
    if isinstance(error, Misconfigured):
        problem = f"{error.path}: expected {error.expected}, got {error.got}"
        yield fault("recipe-changed").found(found.name, problem=problem, cure=_capital(error.hint or "Mend it"))
    elif isinstance(error, Halt):
        yield fault("opening").found(found.name, problem=f"{error.invariant}: {error.detail}", cure=error.cure)
    elif error is not None:
        cure = error.cure if isinstance(error, Unreachable) else ""
        yield fault("opening").found(found.name, problem=str(error), cure=cure or "Mend this first, and ask again")
    if found.settled and not found.indexed:
        yield fault("index-missing").found(found.name, index=found.index)


def _way(found: FoundStream) -> Iterator[Finding]:
    if found.paused:
        yield fault("paused").found(found.name, reason=found.paused)
    if found.letters:
        yield fault("dead-letters").found(found.name, letters=counted(found.letters, "change"), reason=found.reason)
    spent = found.spent
    if spent is not None and spent.usd >= spent.hard_usd:
        usd, limit = f"{spent.usd:.2f}", f"{spent.hard_usd:.2f}"
        yield fault("budget-spent").found(found.name, account=spent.account, spent=usd, limit=limit, period=spent.per)


def _waiting(found: FoundStream) -> Iterator[Finding]:
    if not found.changes or found.paused:
        return
    changes = counted(found.changes, "change")
    if found.alone and found.worker is None:
        yield fault("not-running").found(found.name, changes=changes)
    elif found.oldest_s is not None and found.oldest_s > found.freshness_s:
        age, freshness = f"{found.oldest_s:.0f} s", f"{found.freshness_s:g} s"
        yield fault("lag").found(found.name, changes=changes, age=age, freshness=freshness)


def _payload(found: FoundStream) -> Iterator[Finding]:
    if not found.bodies:
        return
    for name, setting in (found.payload or {}).items():
        if name == TITLE:
            continue  # it falls back to the first heading
        if not any(_has(body, setting.from_) for body in found.bodies):
            lost = "as it is required, each such document is a dead letter"
            fate = lost if setting.required else "a search that is limited by it finds none of them"
            looked = len(found.bodies)
            yield fault("payload-absent").found(found.name, looked=looked, path=setting.from_, field=name, fate=fate)


def _has(body: Mapping[str, Any], path: str) -> bool:
    try:
        return bool(payload(body, {"it": PayloadField(path)}, None))
    except Reject:
        return True  # it is there, and of no use: the dead letters say so


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
