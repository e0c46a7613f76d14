"""The metrics that Prometheus reads: each is named once, counted from events and written as text when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from headwater.clock import Clock
from headwater.model.manifest import Outcome
from headwater.observability.health import READY, Report
from headwater.observability.signals import Emit, Event


class Kind(StrEnum):
    """What Prometheus does with a metric's samples."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(msgspec.Struct, frozen=True):
    """One metric. `unit` is what its value counts, `labels` what its samples are told apart by."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


#: From a change that a search finds at once to one that waited for a day of an outage.
_FRESHNESS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 86400)
#: As OpenTelemetry buckets the same calls.
CALL_S = tuple(0.01 * 2**power for power in range(14))

FRESHNESS = Metric(
    "headwater_freshness_seconds",
    Kind.HISTOGRAM,
    "seconds",
    ("stream",),
    "From the source's change time to the moment a search finds the change",
    _FRESHNESS_S,
)
CHANGES = Metric(
    "headwater_changes_total", Kind.COUNTER, "changes", ("stream", "outcome"), "Changes settled, by what became of them"
)
LAST_SUCCESS = Metric(
    "headwater_last_success_timestamp_seconds",
    Kind.GAUGE,
    "seconds since 1970",
    ("stream",),
    "When changes were settled last; an idle stream settles nothing",
)
LAG = Metric(
    "headwater_lag_records",
    Kind.GAUGE,
    "records",
    ("stream",),
    "Records of its partitions that the worker has not read yet; Kafka only",
)
PARTITIONS = Metric(
    "headwater_partitions", Kind.GAUGE, "partitions", ("stream",), "Partitions that the worker holds; Kafka only"
)
DEAD = Metric("headwater_dead_letters_total", Kind.COUNTER, "changes", ("stream",), "Changes that became dead letters")
STALE = Metric(
    "headwater_stale_writes_rejected_total",
    Kind.COUNTER,
    "documents",
    ("stream", "verdict"),
    "Writes that the index refused because it holds something newer: what the fence is for",
)
READY_STREAM = Metric(
    "headwater_stream_ready", Kind.GAUGE, "0 or 1", ("stream",), "1 while the stream is what /readyz calls ready"
)
DEPENDENCY = Metric(
    "headwater_dependency_up",
    Kind.GAUGE,
    "0 or 1",
    ("stream", "dependency"),
    "0 while the stream waits for it, 1 once it is back; absent while it was never missed",
)
INCIDENTS = Metric(
    "headwater_incidents",
    Kind.GAUGE,
    "0 or 1",
    ("stream", "incident"),
    "1 while an incident stands: model-drift, silent-truncation",
)
BUDGET = Metric(
    "headwater_budget_reached",
    Kind.GAUGE,
    "0 or 1",
    ("stream", "level"),
    "1 once this worker saw the soft or the hard limit of the cost budget reached",
)
REQUESTS = Metric(
    "headwater_embedding_requests_total",
    Kind.COUNTER,
    "requests",
    ("model", "lane", "outcome"),
    "Calls to the model, retries among them, by how they ended",
)
TEXTS = Metric(
    "headwater_embedding_texts_total", Kind.COUNTER, "texts", ("model", "lane"), "Texts that the model embedded"
)
TOKENS = Metric(
    "headwater_embedding_tokens_total", Kind.COUNTER, "tokens", ("model", "lane"), "Tokens that the model was paid for"
)
COST = Metric(
    "headwater_embedding_cost_usd_total", Kind.COUNTER, "US dollars", ("model", "lane"), "What the calls cost, by price"
)
DURATION = Metric(
    "headwater_embedding_duration_seconds",
    Kind.HISTOGRAM,
    "seconds",
    ("model", "lane"),
    "How long a call to the model took, however it ended",
    CALL_S,
)
RETRIES = Metric(
    "headwater_retries_total",
    Kind.COUNTER,
    "requests",
    ("model", "reason"),
    "Calls that ended so that their texts are sent again, by why",
)
BUILD = Metric("headwater_build_info", Kind.GAUGE, "1", ("version",), "1, with what runs here as labels")

#: Every metric, in the order of the reference.
METRICS = (
    FRESHNESS,
    CHANGES,
    LAST_SUCCESS,
    LAG,
    PARTITIONS,
    DEAD,
    STALE,
    READY_STREAM,
    DEPENDENCY,
    INCIDENTS,
    BUDGET,
    REQUESTS,
    TEXTS,
    TOKENS,
    COST,
    DURATION,
    RETRIES,
    BUILD,
)

#: How a call ends whose texts are sent again.
_AGAIN = frozenset({"rate_limited", "overloaded", "failed"})


class Metrics:
    """Counts events, and writes what it counted in Prometheus's text form. Written to and read on any thread.

    `streams` are there from the start with 0, so that a rate sees the first of anything.
    """

    def __init__(self, streams: Iterable[str], version: str, clock: Clock) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
        self._clock = clock
        self._missed: set[tuple[str, str]] = set()
        self._registry = registry = CollectorRegistry(auto_describe=False)
        made = {it.name: _made(it, registry) for it in METRICS}
        self._counters = {name: it for name, it in made.items() if isinstance(it, Counter)}
        self._gauges = {name: it for name, it in made.items() if isinstance(it, Gauge)}
        self._histograms = {name: it for name, it in made.items() if isinstance(it, Histogram)}
        self._gauges[BUILD.name].labels(version).set(1)
        for stream in streams:
            self._begin(stream)
        self._follow: dict[Event, Callable[[dict[str, Any]], None]] = {
            Event.CHANGES_SETTLED: self._settled,
            Event.CHANGE_DEAD: self._dead,
            Event.WRITES_REFUSED: self._refused,
            Event.LOG_MEASURED: self._measured,
            Event.EMBEDDING_CALLED: self._called,
            Event.INCIDENT_RAISED: self._raised,
            Event.INCIDENT_ENDED: self._ended,
            Event.BUDGET_REACHED: self._spent,
        }

    def following(self, emit: Emit) -> Emit:
        """Return what counts events, and hands them on."""

        def follow(event: Event, fields: dict[str, Any]) -> None:
            if count := self._follow.get(event):
                count(fields)
            emit(event, fields)

        return follow

    def text(self, report: Report) -> str:
        """Write all in the text form. How streams stand comes from the report, so that it says what /readyz says."""
        for stream, standing in report.streams.items():
            self._gauges[READY_STREAM.name].labels(stream).set(standing in READY)
        away = {(stream, dependency) for stream, them in report.away.items() for dependency in them}
        self._missed |= away
        for missed in self._missed:
            self._gauges[DEPENDENCY.name].labels(*missed).set(missed not in away)
        return generate_latest(self._registry).decode()

    def _begin(self, stream: str) -> None:
        self._histograms[FRESHNESS.name].labels(stream)
        self._counters[DEAD.name].labels(stream)
        for outcome in Outcome:
            self._counters[CHANGES.name].labels(stream, outcome.value)
        for incident in ("model-drift", "silent-truncation"):
            self._gauges[INCIDENTS.name].labels(stream, incident)
        for level in ("soft", "hard"):
            self._gauges[BUDGET.name].labels(stream, level)

    # --- events

    def _settled(self, fields: dict[str, Any]) -> None:
        stream = fields["stream"]
        for outcome, count in fields.get("outcomes", {}).items():
            self._counters[CHANGES.name].labels(stream, outcome).inc(count)
        observe = self._histograms[FRESHNESS.name].labels(stream).observe
        for age_s in fields.get("freshness_s", ()):
            observe(max(age_s, 0.0))  # a source whose clock is ahead claims a change of the future
        self._gauges[LAST_SUCCESS.name].labels(stream).set(self._clock.now_us() / 1e6)

    def _dead(self, fields: dict[str, Any]) -> None:
        self._counters[DEAD.name].labels(fields["stream"]).inc()

    def _refused(self, fields: dict[str, Any]) -> None:
        self._counters[STALE.name].labels(fields["stream"], fields["verdict"]).inc(fields["documents"])

    def _measured(self, fields: dict[str, Any]) -> None:
        self._gauges[LAG.name].labels(fields["stream"]).set(fields["lag"])
        self._gauges[PARTITIONS.name].labels(fields["stream"]).set(fields["partitions"])

    def _called(self, fields: dict[str, Any]) -> None:
        model, lane, outcome = fields["model"], fields["lane"], fields["outcome"]
        self._counters[REQUESTS.name].labels(model, lane, outcome).inc()
        self._histograms[DURATION.name].labels(model, lane).observe(fields["seconds"])
        self._counters[COST.name].labels(model, lane).inc(fields.get("cost_usd", 0.0))  # not all have a price
        if outcome == "answered":
            self._counters[TEXTS.name].labels(model, lane).inc(fields["texts"])
            self._counters[TOKENS.name].labels(model, lane).inc(fields["tokens"])
        elif outcome in _AGAIN and lane != "probe":
            self._counters[RETRIES.name].labels(model, outcome).inc()

    def _raised(self, fields: dict[str, Any]) -> None:
        self._gauges[INCIDENTS.name].labels(fields["stream"], fields["incident"]).set(1)

    def _ended(self, fields: dict[str, Any]) -> None:
        self._gauges[INCIDENTS.name].labels(fields["stream"], fields["incident"]).set(0)

    def _spent(self, fields: dict[str, Any]) -> None:
        self._gauges[BUDGET.name].labels(fields["stream"], fields["budget"]).set(1)


def reference() -> str:
    """Return a table of every metric: its type, its unit, its labels and its meaning."""
    head = (
        "# Metrics reference\n\n"
        "<!-- Generated from the table of metrics. -->\n\n"
        "`headwater run --probes HOST:PORT` answers these at `/metrics`, in Prometheus's text form. They count from\n"
        "the start of the process. [How to observe a worker](../how-to/observe.md) puts them to use.\n\n"
        "| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n"
    )
    return head + "".join(
        f"| `{it.name}` | {it.kind} | {it.unit} | {', '.join(f'`{label}`' for label in it.labels)} | {it.help} |\n"
        for it in METRICS
    )


def _made(metric: Metric, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if metric.kind is Kind.HISTOGRAM:
        return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)
    make = Counter if metric.kind is Kind.COUNTER else Gauge
    return make(metric.name, metric.help, metric.labels, registry=registry)
