"""PURE: what the standard OTEL_* environment variables ask for. Apart from `telemetry`, which needs the SDK."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_PROTOCOL = "http/protobuf"


class Asked(msgspec.Struct, frozen=True):
    """Which signals to send. `unmet` says, a sentence each, what is asked for that Headwater cannot do."""

    traces: bool = False
    metrics: bool = False
    unmet: tuple[str, ...] = ()


def asked(environment: Mapping[str, str]) -> Asked:
    """Read the environment. Nothing is sent unless an exporter or an endpoint is named: a worker has no collector
    beside it by default. Values are not repeated in what is said: headers and addresses hold secrets.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Asked()
    unmet: list[str] = []
    sent = {signal: _sent(environment, signal, unmet) for signal in ("TRACES", "METRICS")}
    return Asked(sent["TRACES"], sent["METRICS"], tuple(dict.fromkeys(unmet)))


def _sent(environment: Mapping[str, str], signal: str, unmet: list[str]) -> bool:
    exporter = f"OTEL_{signal}_EXPORTER"
    names = {name.strip() for name in environment.get(exporter, "").split(",")} - {""}
    if names - {"otlp", "none"}:
        unmet.append(f"{exporter} names an exporter that Headwater has not: it knows otlp and none")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    if "otlp" not in names and (names or not any(environment.get(name, "").strip() for name in endpoints)):
        return False
    for variable in (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = environment.get(variable, "").strip()
        if protocol:
            if protocol != _PROTOCOL:
                unmet.append(f"{variable} names a protocol that Headwater does not speak: it sends {_PROTOCOL} only")
            return protocol == _PROTOCOL
    return True
