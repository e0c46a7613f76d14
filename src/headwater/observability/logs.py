"""Events as log lines: one line an event, as `name key=value` text or as a JSON object."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

from headwater.clock import Clock
from headwater.observability.formats import LogFormat
from headwater.observability.signals import Emit, Event

#: An event on its way through the processors.
Fields = MutableMapping[str, Any]

_LEVELS = {
    Event.STREAM_HALTED: logging.ERROR,
    Event.STREAM_PAUSED: logging.WARNING,
    Event.SOURCE_SKIPPED: logging.WARNING,
    Event.SOURCE_UNWATCHED: logging.WARNING,
    Event.CHANGE_DEAD: logging.WARNING,
    Event.OUTAGE_BEGAN: logging.WARNING,
    Event.CHANGES_SETTLED: logging.DEBUG,  # one a commit: progress says it better
    Event.INCIDENT_RAISED: logging.ERROR,
    Event.BUDGET_REACHED: logging.WARNING,
    Event.CACHE_AWAY: logging.WARNING,
    Event.LOG_MEASURED: logging.DEBUG,  # one a second
    Event.EMBEDDING_CALLED: logging.DEBUG,  # one a call to the model
    Event.WRITES_REFUSED: logging.DEBUG,  # what the fence is for: nothing is wrong
}


#: Fields for metrics: a line would not be readable with them.
_MEASURED = frozenset({"freshness_s", "outcomes"})


def log_events(write: Callable[[str], None], form: LogFormat, clock: Clock, *, verbose: bool = False) -> Emit:
    """Return what takes events and writes lines. `verbose` adds the frequent ones.

    A line that cannot be written (nobody reads any more) is dropped: the work goes on.
    """
    logger = structlog.wrap_logger(
        _Lines(write),
        processors=[
            structlog.processors.add_log_level,
            _Stamp(clock),
            _json if form is LogFormat.JSON else _text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
    )

    def emit(event: Event, fields: dict[str, Any]) -> None:
        told = {name: value for name, value in fields.items() if name not in _MEASURED}
        logger.log(_LEVELS.get(event, logging.INFO), event.value, **told)

    return emit


class _Lines:
    """The end of the chain: takes a rendered line at any level."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def msg(self, line: str) -> None:
        try:
            self._write(line)
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = log = msg


class _Stamp:
    """Adds the time, from our clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: object, _method: str, fields: Fields) -> Fields:
        moment = datetime.fromtimestamp(self._clock.now_us() / 1e6, UTC)
        time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"time": time, "level": fields.pop("level"), "event": fields.pop("event"), **fields}


def _json(_logger: object, _method: str, fields: Fields) -> str:
    return json.dumps(fields, default=str)


def _text(_logger: object, _method: str, fields: Fields) -> str:
    time, level, event = (fields.pop(name) for name in ("time", "level", "event"))
    return " ".join([f"{time} {level:<7} {event}", *(f"{name}={_value(value)}" for name, value in fields.items())])


def _value(value: object) -> str:
    """Write a value so that it stays on its line and in its word."""
    text = str(value)
    plain = text.isprintable() and text and not set(text) & set(' "=')
    return text if plain else json.dumps(text)
