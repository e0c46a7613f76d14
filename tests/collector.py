"""An OpenTelemetry collector on this machine: takes OTLP over HTTP and keeps what came."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from threading import Event
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.loopback import listening


@dataclass
class Collector:
    """What came. `status` is what the collector answers with; it answers nothing before `answers` is set."""

    url: str = ""
    status: int = 200
    answers: Event = field(default_factory=Event)
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        requests = [ExportTraceServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/traces"]
        return [
            span for it in requests for resource in it.resource_spans for s in resource.scope_spans for span in s.spans
        ]

    @property
    def metrics(self) -> dict[str, Metric]:
        """The last of each."""
        requests = [ExportMetricsServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/metrics"]
        return {
            metric.name: metric
            for it in requests
            for resource in it.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def resource(self) -> dict[str, Any]:
        path, body = self.bodies[0]
        if path == "/v1/traces":
            return told(ExportTraceServiceRequest.FromString(body).resource_spans[0].resource.attributes)
        return told(ExportMetricsServiceRequest.FromString(body).resource_metrics[0].resource.attributes)


def told(attributes: Any) -> dict[str, Any]:
    """Read attributes as they are meant."""
    pairs: list[KeyValue] = list(attributes)
    return {it.key: getattr(it.value, it.value.WhichOneof("value") or "string_value") for it in pairs}


@contextmanager
def collecting(*, answers: bool = True) -> Iterator[Collector]:
    """Collect while the block runs."""
    collector = Collector()
    if answers:
        collector.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            collector.answers.wait(30)
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Handler) as url:
        collector.url = url
        try:
            yield collector
        finally:
            collector.answers.set()
