"""Every event that Headwater tells of, once. An event is a name and fields; it never holds document text or secrets."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any


class Event(StrEnum):
    """The names. They are stable: people filter their logs by them."""

    STREAM_STARTED = "stream.started"
    STREAM_HALTED = "stream.halted"
    STREAM_REOPENED = "stream.reopened"
    STREAM_PAUSED = "stream.paused"
    STREAM_STOPPED = "stream.stopped"
    SOURCE_SYNCHRONISED = "source.synchronised"
    SOURCE_SKIPPED = "source.skipped"
    SOURCE_UNWATCHED = "source.unwatched"
    PARTITIONS_MOVED = "partitions.moved"
    SETTLEMENT_FENCED = "settlement.fenced"
    WRITES_REFUSED = "writes.refused"
    LOG_MEASURED = "log.measured"
    CHANGES_SETTLED = "changes.settled"
    CHANGE_DEAD = "change.dead"
    OUTAGE_BEGAN = "outage.began"
    OUTAGE_ENDED = "outage.ended"
    PROBES_LISTENING = "probes.listening"
    EMBEDDING_CALLED = "embedding.called"
    INCIDENT_RAISED = "incident.raised"
    INCIDENT_ENDED = "incident.ended"
    CACHE_AWAY = "cache.away"
    BUDGET_REACHED = "budget.reached"


#: Takes an event and its fields. Must not block and must not raise.
Emit = Callable[[Event, dict[str, Any]], None]


def unheard(_event: Event, _fields: dict[str, Any]) -> None:
    """For what is done while nobody listens."""
