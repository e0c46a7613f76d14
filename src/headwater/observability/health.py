"""Health as an orchestrator asks for it: does the worker's loop turn, and do its streams work. Decides, asks nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from http import HTTPStatus

import msgspec

#: A loop that said nothing for so long is stuck. Computing has a thread of its own, so a healthy loop never gets near.
SILENT_S = 10.0


class Standing(StrEnum):
    """Where a stream stands. The values are stable: they are in the answer of `/readyz`."""

    STARTING = "starting"
    RUNNING = "running"
    #: A dependency is away, and the stream waits for it.
    WAITING = "waiting"
    #: A person paused it.
    PAUSED = "paused"
    #: It paused itself, because too much was rejected.
    TRIPPED = "tripped"
    HALTED = "halted"
    ENDED = "ended"


#: A pause that a person asked for is obeyed, and nothing that a restart or another worker would mend.
READY = frozenset({Standing.RUNNING, Standing.PAUSED})


class Report(msgspec.Struct, frozen=True):
    """What the worker's loop says of itself; `at_s` is when, in monotonic seconds.

    `away` is what each stream waits for at the moment; no answer holds it, the metrics do.
    """

    at_s: float
    streams: Mapping[str, Standing]
    stopping: bool = False
    away: Mapping[str, Collection[str]] = {}


class Answer(msgspec.Struct, frozen=True):
    """A status and its reasons. Names streams, never documents, addresses or causes. Text is for Prometheus."""

    status: HTTPStatus
    body: Mapping[str, object] | str


def answer(path: str, report: Report, now_s: float) -> Answer | None:
    """Answer `/livez` or `/readyz`; None for any other path.

    Alive says nothing of dependencies: a restart brings none of them back.
    """
    silent_s = max(0.0, now_s - report.at_s)
    alive = silent_s <= SILENT_S
    if path == "/livez":
        return _answer(ok=alive, body={"alive": alive, "silent_s": round(silent_s, 1)})
    if path == "/readyz":
        ready = alive and not report.stopping and READY.issuperset(report.streams.values())
        return _answer(ok=ready, body={"ready": ready, "stopping": report.stopping, "streams": report.streams})
    return None


def _answer(*, ok: bool, body: Mapping[str, object]) -> Answer:
    return Answer(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, body)
