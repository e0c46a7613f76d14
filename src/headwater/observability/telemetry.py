"""OpenTelemetry: spans and metrics of the calls to models and of what was consumed, under the conventions' names.

Needs the extra `telemetry`; where to send is the SDK's own to read from the OTEL_* variables. Never a text, a key or
an identity of a document. The names are those of semantic-conventions-genai, and of messaging in 1.44.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracerProvider, SpanKind, Status, StatusCode

from headwater.observability.signals import Emit, Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headwater.observability.exporters import Asked

#: How long the end of the worker waits for the last of it.
CLOSE_S = 3.0
#: Events that wait to be turned into spans; what comes on top is dropped.
MOST_WAITING = 4096

#: As the conventions bucket them.
DURATION_S = tuple(0.01 * 2**power for power in range(14))
INPUT_TOKENS = tuple(4**power for power in range(14))

#: Providers that the conventions call something else; any other name stands for itself.
_PROVIDERS = {"azure": "azure.ai.openai"}
#: The provider of a model that is built in.
_BUILT_IN = "headwater"

UNDELIVERED = (
    "telemetry does not reach the OpenTelemetry collector, or not all of it; the work goes on, and this is said once"
)
MISREAD = "telemetry: an OTEL_* variable has a value that the OpenTelemetry SDK cannot use; the work goes on without"


class Consumed(msgspec.Struct, frozen=True):
    """Where a stream's messages come from on Kafka."""

    topic: str
    group: str


class Telemetry:
    """Turns events into spans and metrics on a thread of its own, and sends them.

    `consumed` is where each stream's messages come from, for those on Kafka. `say` is told at most one line: that a
    variable is not understood, or that nobody takes what is sent. `version` is Headwater's own.
    """

    def __init__(
        self, asked: Asked, consumed: Mapping[str, Consumed], version: str, say: Callable[[str], None]
    ) -> None:
        self._complaints = complaints = _Complaints(say)
        self._waiting: SimpleQueue[tuple[Event, dict[str, Any]] | None] = SimpleQueue()
        self._tracing: TracerProvider | None = None
        self._metering: MeterProvider | None = None
        # What the environment says of the service comes last: it wins.
        resource = Resource.create({"service.name": "headwater", "service.version": version})
        resource = resource.merge(OTELResourceDetector().detect())
        with complaints.of_sdk():
            self._tracing = _tracing(resource) if asked.traces else None
        with complaints.of_sdk():
            self._metering = _metering(resource) if asked.metrics else None
        self._tracer = (self._tracing or NoOpTracerProvider()).get_tracer("headwater", version)
        meter = (self._metering or NoOpMeterProvider()).get_meter("headwater", version)
        self._duration = meter.create_histogram(
            "gen_ai.client.embeddings.duration",
            unit="s",
            description="GenAI client embeddings operation duration.",
            explicit_bucket_boundaries_advisory=DURATION_S,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.embeddings.operation.input_tokens",
            unit="{token}",
            description="The number of input tokens used per embeddings operation.",
            explicit_bucket_boundaries_advisory=INPUT_TOKENS,
        )
        self._messages = meter.create_counter(
            "messaging.client.consumed.messages",
            unit="{message}",
            description="Number of messages that were delivered to the application.",
        )
        self._consumed = {
            stream: {
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.destination.name": it.topic,
                "messaging.consumer.group.name": it.group,
            }
            for stream, it in consumed.items()
        }
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._thread.start()

    def following(self, emit: Emit) -> Emit:
        """Return what takes note of events, and hands them on. Costs the caller a place in a queue."""

        def follow(event: Event, fields: dict[str, Any]) -> None:
            wanted = event is Event.EMBEDDING_CALLED or (
                event is Event.CHANGES_SETTLED and fields["stream"] in self._consumed
            )
            if wanted and self._waiting.qsize() < MOST_WAITING:
                self._waiting.put((event, fields))
            emit(event, fields)

        return follow

    def close(self) -> None:
        """Send what is left, for CLOSE_S at most; what is not sent by then is lost."""
        self._waiting.put(None)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._complaints.say(UNDELIVERED)

    # --- on the thread

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            event, fields = item
            if event is Event.EMBEDDING_CALLED:
                self._called(fields)
            else:
                self._messages.add(fields["changes"], self._consumed[fields["stream"]], Context())
        for provider in (self._tracing, self._metering):
            if provider is not None:
                provider.shutdown()

    def _called(self, fields: dict[str, Any]) -> None:
        provider, model = _named(fields["model"])
        host = fields.get("host", "")  # a model that runs here has none
        shared: dict[str, str] = {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
        }
        if host:
            shared["server.address"] = host
        answered = fields["outcome"] == "answered"
        if not answered:
            shared["error.type"] = fields["outcome"]
        self._duration.record(fields["seconds"], shared, Context())
        if answered and fields["tokens"]:
            self._tokens.record(fields["tokens"], shared, Context())
        if self._tracing is None:
            return
        start_ns = fields["started_us"] * 1000
        span = self._tracer.start_span(
            f"embeddings {model}",
            Context(),  # whose trace it is, an event does not say: a batch holds the texts of many
            SpanKind.CLIENT if host else SpanKind.INTERNAL,
            {
                **shared,
                "gen_ai.embeddings.dimension.count": fields["dimensions"],
                "headwater.lane": fields["lane"],
                "headwater.attempt": fields["attempt"],
                "headwater.texts": fields["texts"],
            },
            start_time=start_ns,
        )
        if answered:
            span.set_attribute("gen_ai.usage.input_tokens", fields["tokens"])
        else:
            span.set_status(Status(StatusCode.ERROR))
        span.end(start_ns + round(fields["seconds"] * 1e9))


def _tracing(resource: Resource) -> TracerProvider:
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _metering(resource: Resource) -> MeterProvider:
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)


def _named(model: str) -> tuple[str, str]:
    """Return provider and model as the conventions name them."""
    provider, slash, name = model.partition("/")
    return (_PROVIDERS.get(provider, provider), name) if slash else (_BUILT_IN, model)


class _Complaints(logging.Handler):
    """What the SDK logs, as one line of our own: its own lines repeat headers and addresses, which hold secrets."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self._said = False
        self._once = threading.Lock()
        self._reading = False
        logging.getLogger("opentelemetry").addHandler(self)  # where there is one, Python prints nothing by itself

    @contextmanager
    def of_sdk(self) -> Iterator[None]:
        """While the SDK reads its variables, a warning is about one of them, and so is what it raises."""
        self._reading = True
        try:
            yield
        except (ValueError, OSError):
            self.say(MISREAD)
        finally:
            self._reading = False

    def emit(self, record: logging.LogRecord) -> None:
        # A warning afterwards is an attempt that is made again; what was given up is an error.
        if self._reading and record.levelno >= logging.WARNING:
            self.say(MISREAD)
        elif record.levelno >= logging.ERROR:
            self.say(UNDELIVERED)

    def say(self, line: str) -> None:
        """Say it, unless something was said already."""
        with self._once:
            said, self._said = self._said, True
        if not said:
            self._say(line)
