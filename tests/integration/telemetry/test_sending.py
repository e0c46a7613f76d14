"""What reaches an OpenTelemetry collector: names of the conventions, times of the events, nothing of documents."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, messaging_attributes
from opentelemetry.semconv._incubating.metrics import messaging_metrics
from opentelemetry.semconv.attributes import error_attributes, server_attributes

from headwater.observability import telemetry as module
from headwater.observability.exporters import Asked
from headwater.observability.signals import Event, unheard
from headwater.observability.telemetry import MISREAD, UNDELIVERED, Consumed, Telemetry
from tests.collector import Collector, collecting, told

CALLED: dict[str, Any] = {
    "stream": "notes",
    "model": "openai/text-embedding-3-small",
    "host": "api.example.com",
    "lane": "live",
    "texts": 3,
    "tokens": 70,
    "dimensions": 1536,
    "outcome": "answered",
    "attempt": 0,
    "started_us": 1_700_000_000_000_001,
    "seconds": 0.25,
    "cost_usd": 0.25,
}
SETTLED = {"stream": "notes", "changes": 5}
FROM_KAFKA = {"notes": Consumed("hw.notes.changes", "hw.notes")}


@pytest.fixture(autouse=True)
def not_said_before() -> None:
    """The SDK leaves out what it logged a minute ago, in another test too."""
    for name in list(logging.Logger.manager.loggerDict):
        if name.startswith("opentelemetry"):
            logging.getLogger(name).filters.clear()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as it:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", it.url)
        yield it


def sent(*events: tuple[Event, dict[str, Any]], asked: Asked | None = None) -> list[str]:
    """Let events be sent; return what was said."""
    said: list[str] = []
    telemetry = Telemetry(asked or Asked(traces=True, metrics=True), FROM_KAFKA, "1.2.3", said.append)
    with closing(telemetry):
        emit = telemetry.following(unheard)
        for event, fields in events:
            emit(event, fields)
    return said


def test_a_call_is_a_span_with_its_own_times(collector: Collector) -> None:
    assert sent((Event.EMBEDDING_CALLED, CALLED)) == []
    (span,) = collector.spans
    assert span.name == "embeddings text-embedding-3-small"
    assert span.kind == Span.SPAN_KIND_CLIENT
    assert span.start_time_unix_nano == 1_700_000_000_000_001_000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 250_000_000
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert not span.parent_span_id
    assert told(span.attributes) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "text-embedding-3-small",
        "gen_ai.embeddings.dimension.count": 1536,
        "gen_ai.usage.input_tokens": 70,
        "server.address": "api.example.com",
        "headwater.lane": "live",
        "headwater.attempt": 0,
        "headwater.texts": 3,
    }


@pytest.mark.parametrize("outcome", ["rate_limited", "overloaded", "failed", "rejected", "refused", "abandoned"])
def test_a_call_that_was_not_answered_is_an_error_of_its_kind(collector: Collector, outcome: str) -> None:
    sent((Event.EMBEDDING_CALLED, {**CALLED, "outcome": outcome, "tokens": 0, "attempt": 2}))
    (span,) = collector.spans
    assert span.status.code == Status.STATUS_CODE_ERROR
    attributes = told(span.attributes)
    assert attributes["error.type"] == outcome
    assert attributes["headwater.attempt"] == 2
    assert "gen_ai.usage.input_tokens" not in attributes
    (point,) = collector.metrics["gen_ai.client.embeddings.duration"].histogram.data_points
    assert told(point.attributes)["error.type"] == outcome
    assert "gen_ai.client.embeddings.operation.input_tokens" not in collector.metrics


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("azure/my-deployment", "azure.ai.openai", "my-deployment"),
        ("cohere/embed-v4.0", "cohere", "embed-v4.0"),
        ("voyage/voyage-4", "voyage", "voyage-4"),
        ("tei/BAAI/bge-small", "tei", "BAAI/bge-small"),
    ],
)
def test_providers_have_the_conventions_names(collector: Collector, model: str, provider: str, name: str) -> None:
    sent((Event.EMBEDDING_CALLED, {**CALLED, "model": model}))
    (span,) = collector.spans
    assert span.name == f"embeddings {name}"
    assert told(span.attributes)["gen_ai.provider.name"] == provider


def test_a_model_that_runs_here_is_called_inside_the_process(collector: Collector) -> None:
    sent((Event.EMBEDDING_CALLED, {**CALLED, "model": "static", "host": ""}))
    (span,) = collector.spans
    assert span.kind == Span.SPAN_KIND_INTERNAL
    assert span.name == "embeddings static"
    assert told(span.attributes)["gen_ai.provider.name"] == "headwater"
    assert "server.address" not in told(span.attributes)


def test_metrics_have_the_conventions_names_units_and_buckets(collector: Collector) -> None:
    sent(
        (Event.EMBEDDING_CALLED, CALLED),
        (Event.EMBEDDING_CALLED, {**CALLED, "tokens": 1000}),
        (Event.CHANGES_SETTLED, SETTLED),
        (Event.CHANGES_SETTLED, {**SETTLED, "stream": "from-a-file"}),
    )
    metrics = collector.metrics
    duration = metrics["gen_ai.client.embeddings.duration"]
    assert duration.unit == "s"
    (point,) = duration.histogram.data_points
    assert (point.count, point.sum) == (2, 0.5)
    assert point.explicit_bounds[0] == 0.01
    assert point.explicit_bounds[-1] == 81.92
    assert len(point.explicit_bounds) == 14
    tokens = metrics["gen_ai.client.embeddings.operation.input_tokens"]
    assert tokens.unit == "{token}"
    (point,) = tokens.histogram.data_points
    assert point.sum == 1070
    assert (point.explicit_bounds[0], point.explicit_bounds[-1]) == (1, 67_108_864)
    consumed = metrics[messaging_metrics.MESSAGING_CLIENT_CONSUMED_MESSAGES]
    assert consumed.unit == "{message}"
    (number,) = consumed.sum.data_points
    assert number.as_int == 5, "only what came from Kafka is messaging"
    assert told(number.attributes) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.destination.name": "hw.notes.changes",
        "messaging.consumer.group.name": "hw.notes",
    }


def test_every_attribute_is_one_of_the_conventions_or_our_own(collector: Collector) -> None:
    known = {
        value
        for conventions in (gen_ai_attributes, messaging_attributes, error_attributes, server_attributes)
        for value in vars(conventions).values()
        if isinstance(value, str)
    }
    sent((Event.EMBEDDING_CALLED, {**CALLED, "outcome": "failed"}), (Event.CHANGES_SETTLED, SETTLED))
    sent((Event.EMBEDDING_CALLED, CALLED))
    used = {key for span in collector.spans for key in told(span.attributes)}
    for metric in collector.metrics.values():
        for point in [*metric.histogram.data_points, *metric.sum.data_points]:
            used |= told(point.attributes).keys()
    assert len(used) > 10
    assert {key for key in used - known if not key.startswith("headwater.")} == set()


def test_the_environment_names_the_service(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    sent((Event.EMBEDDING_CALLED, CALLED))
    assert collector.resource["service.name"] == "headwater"
    assert collector.resource["service.version"] == "1.2.3"
    collector.bodies.clear()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "search")
    sent((Event.EMBEDDING_CALLED, CALLED))
    assert collector.resource["service.name"] == "search"


def test_only_what_was_asked_for_is_sent(collector: Collector) -> None:
    sent((Event.EMBEDDING_CALLED, CALLED), asked=Asked(metrics=True))
    assert {path for path, _ in collector.bodies} == {"/v1/metrics"}
    collector.bodies.clear()
    sent((Event.EMBEDDING_CALLED, CALLED), asked=Asked(traces=True))
    assert {path for path, _ in collector.bodies} == {"/v1/traces"}


def test_other_events_are_not_sent(collector: Collector) -> None:
    planted = {"stream": "notes", "id": "planted", "reason": "planted", "detail": "planted", "incident": "planted"}
    events = [event for event in Event if event not in (Event.EMBEDDING_CALLED, Event.CHANGES_SETTLED)]
    sent((Event.EMBEDDING_CALLED, CALLED), *((event, planted) for event in events))
    assert collector.bodies
    assert b"planted" not in b"".join(body for _, body in collector.bodies)


def test_events_that_nobody_keeps_up_with_are_dropped(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 0)
    heard: list[Event] = []
    telemetry = Telemetry(Asked(traces=True), {}, "1", heard.append)  # type: ignore[arg-type]  # nothing is said
    with closing(telemetry):
        telemetry.following(lambda event, _: heard.append(event))(Event.EMBEDDING_CALLED, CALLED)
    assert heard == [Event.EMBEDDING_CALLED], "it is handed on all the same"
    assert collector.bodies == []


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_collector_that_refuses_is_said_once(collector: Collector, status: int) -> None:
    collector.status = status
    assert sent((Event.EMBEDDING_CALLED, CALLED)) == [UNDELIVERED]


def test_a_collector_that_never_answers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.2)
    with collecting(answers=False) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", silent.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        assert sent((Event.EMBEDDING_CALLED, CALLED)) == [UNDELIVERED]
        assert not silent.answers.is_set(), "it was waited for"


def test_no_collector_at_all_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.2)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://someone:planted@127.0.0.1:9")
    assert sent(*[(Event.EMBEDDING_CALLED, CALLED)] * 3) == [UNDELIVERED]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key planted"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "planted"),
        ("OTEL_BSP_SCHEDULE_DELAY", "planted"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "planted"),
        ("OTEL_TRACES_SAMPLER", "planted"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "planted"),
        ("OTEL_RESOURCE_ATTRIBUTES", "planted"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "planted"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "planted"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/planted"),
    ],
)
def test_a_variable_that_is_not_understood_is_no_traceback_and_no_leak(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    said = sent((Event.EMBEDDING_CALLED, CALLED))
    assert said in ([MISREAD], [UNDELIVERED], [])
    written = capfd.readouterr()
    assert "planted" not in f"{said}{written.out}{written.err}"
    assert "Traceback" not in written.err


def test_attempts_that_are_made_again_are_not_complained_of() -> None:
    said: list[str] = []
    with closing(Telemetry(Asked(), {}, "1", said.append)):
        logging.getLogger("opentelemetry.exporter").warning("Transient error, retrying")
        assert said == []
        logging.getLogger("opentelemetry.exporter").error("given up")
        logging.getLogger("opentelemetry.exporter").error("given up again")
    assert said == [UNDELIVERED]
