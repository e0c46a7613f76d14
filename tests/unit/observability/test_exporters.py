"""What the OTEL_* variables ask for."""

from __future__ import annotations

import pytest

from headwater.observability.exporters import Asked, asked

BOTH = Asked(traces=True, metrics=True)
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, Asked()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, Asked()),
        (ENDPOINT, BOTH),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"}, Asked(traces=True)),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a"}, Asked(metrics=True)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, Asked(traces=True)),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, Asked(metrics=True)),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, Asked(metrics=True)),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "none"}, Asked(traces=True)),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, Asked()),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, BOTH),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, BOTH),
        ({"OTEL_SERVICE_NAME": "search", "OTEL_RESOURCE_ATTRIBUTES": "a=b"}, Asked()),
    ],
    ids=str,
)
def test_nothing_is_sent_unasked(environment: dict[str, str], wanted: Asked) -> None:
    assert asked(environment) == wanted


def test_another_exporter_is_said_and_otlp_beside_it_is_used() -> None:
    found = asked({"OTEL_TRACES_EXPORTER": "otlp, console", "OTEL_METRICS_EXPORTER": "prometheus"})
    assert (found.traces, found.metrics) == (True, False)
    assert [sentence.split()[0] for sentence in found.unmet] == ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"]


def test_another_protocol_is_said_once_and_sends_nothing() -> None:
    found = asked({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert not found.traces
    assert not found.metrics
    assert [sentence.split()[0] for sentence in found.unmet] == ["OTEL_EXPORTER_OTLP_PROTOCOL"]


def test_a_signal_s_own_protocol_goes_before_the_one_for_all() -> None:
    found = asked(
        {
            **ENDPOINT,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        }
    )
    assert (found.traces, found.metrics) == (True, False)


def test_no_value_is_repeated() -> None:
    found = asked({**ENDPOINT, "OTEL_TRACES_EXPORTER": "planted", "OTEL_EXPORTER_OTLP_PROTOCOL": "planted"})
    assert found.unmet
    assert "planted" not in str(found.unmet)
