"""`/metrics` of a real worker as Prometheus reads it, and a real worker that sends to an OpenTelemetry collector."""

from __future__ import annotations

import json
import signal
from functools import partial
from http.client import HTTPConnection

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headwater.observability.telemetry import UNDELIVERED
from tests.collector import Collector, collecting, told
from tests.integration.cli.process import Cli, until
from tests.integration.cli.test_probes import started

SECRET = "zanzibar"
STREAMS = "streams: {notes: {recipe: {embed: {model: hash}, payload: {kind: {from: kind, required: true}}}}}\n"


def scraped(address: str) -> dict[str, float]:
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        text = response.read().decode()
    finally:
        connection.close()
    assert SECRET not in text
    return {
        f"{sample.name}{{{','.join(f'{k}={v}' for k, v in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shows(address: str, name: str, value: float) -> bool:
    return scraped(address).get(name) == value


def publish(cli: Cli, count: int) -> None:
    """Publish documents whose names and texts hold a secret, and one that becomes a dead letter."""
    changes = [{"id": f"{SECRET}-{n}", "text": f"{SECRET} {n} " * 40, "kind": SECRET} for n in range(count)]
    changes.append({"id": f"{SECRET}-dead", "text": SECRET})
    cli("publish", "notes", stdin="".join(json.dumps(change) + "\n" for change in changes))


def test_a_worker_s_metrics_say_what_it_did(cli: Cli) -> None:
    cli.write("headwater.yaml", STREAMS)
    worker, address = started(cli)
    until(partial(shows, address, "headwater_stream_ready{stream=notes}", 1))
    assert scraped(address)["headwater_dead_letters_total{stream=notes}"] == 0
    publish(cli, 20)
    until(partial(shows, address, "headwater_dead_letters_total{stream=notes}", 1))
    until(lambda: scraped(address).get("headwater_last_success_timestamp_seconds{stream=notes}", 0) > 1.7e9)
    found = scraped(address)
    assert found["headwater_embedding_requests_total{lane=live,model=hash,outcome=answered}"] >= 1
    assert found["headwater_embedding_texts_total{lane=live,model=hash}"] >= 20
    cli("pause", "notes")
    cli("resume", "notes")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def test_a_source_that_is_away_is_a_dependency_that_is_down(articles: Cli) -> None:
    worker, address = started(articles)
    until(partial(shows, address, "headwater_stream_ready{stream=articles}", 1))
    docs = articles.folder / "docs"
    down = f"headwater_dependency_up{{dependency={docs},stream=articles}}"
    assert down not in scraped(address)
    docs.rename(articles.folder / "away")
    until(partial(shows, address, down, 0))
    until(partial(shows, address, "headwater_stream_ready{stream=articles}", 0))
    (articles.folder / "away").rename(docs)
    until(partial(shows, address, down, 1))
    until(partial(shows, address, "headwater_stream_ready{stream=articles}", 1))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0


def exported(cli: Cli, collector: Collector) -> str:
    cli.write("headwater.yaml", STREAMS)
    publish(cli, 20)
    return cli("run", "--once", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="library").stderr


def test_a_worker_sends_spans_and_metrics_without_a_word_of_the_documents(cli: Cli) -> None:
    with collecting() as collector:
        said = exported(cli, collector)
    assert "telemetry" not in said
    assert {span.name for span in collector.spans} == {"embeddings hash"}
    assert sum(told(span.attributes)["headwater.texts"] for span in collector.spans) >= 20
    assert collector.metrics["gen_ai.client.embeddings.duration"].unit == "s"
    assert "messaging.client.consumed.messages" not in collector.metrics, "its log is a file"
    assert collector.resource["service.name"] == "library"
    assert SECRET.encode() not in b"".join(body for _, body in collector.bodies)


def test_a_collector_that_is_away_costs_one_line(cli: Cli) -> None:
    with collecting() as collector:
        collector.status = 503
        said = exported(cli, collector)
    assert [line for line in said.splitlines() if "telemetry" in line.lower()] == [UNDELIVERED]
    assert cli.json("verify", "notes", "--json")["ok"]


def test_what_is_asked_for_and_not_installed_is_said(cli: Cli) -> None:
    cli.write("headwater.yaml", STREAMS)
    cli("publish", "notes", stdin='{"id": "a", "text": "alpha", "kind": "b"}\n')
    cli.write("without/sitecustomize.py", 'import sys\nsys.modules["opentelemetry.sdk"] = None\n')
    said = cli(
        "run", "--once", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", PYTHONPATH=str(cli.folder / "without")
    ).stderr
    assert "pip install 'headwater[telemetry]'" in said
    assert "1 change settled" in said


@pytest.mark.parametrize("module", ["opentelemetry.sdk", "prometheus_client"])
def test_unasked_nothing_of_it_is_imported(cli: Cli, module: str) -> None:
    cli.write("headwater.yaml", STREAMS)
    cli("publish", "notes", stdin='{"id": "a", "text": "alpha", "kind": "b"}\n')
    spy = (
        f"import atexit, sys\natexit.register(lambda: print('imported:', {module!r} in sys.modules, file=sys.stderr))\n"
    )
    cli.write("spy/sitecustomize.py", spy)
    said = cli("run", "--once", PYTHONPATH=str(cli.folder / "spy")).stderr
    assert "imported: False" in said
    cli.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "HEADWATER_PROBES": "127.0.0.1:0"}
    assert "imported: True" in cli("run", "--once", PYTHONPATH=str(cli.folder / "spy")).stderr
