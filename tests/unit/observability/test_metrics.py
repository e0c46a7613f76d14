"""The metrics: their table keeps to Prometheus's rules, and what events tell is what a scrape reads."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from headwater.clock import SystemClock
from headwater.model.manifest import Outcome
from headwater.observability import metrics as module
from headwater.observability.health import Report, Standing, answer
from headwater.observability.metrics import METRICS, Kind, Metric, Metrics
from headwater.observability.signals import Event, unheard

#: What samples may be told apart by: each has few values, all from the configuration or from an enumeration here.
BOUNDED = {"stream", "outcome", "verdict", "dependency", "incident", "level", "model", "lane", "reason", "version"}
CALLED: dict[str, Any] = {
    "stream": "notes",
    "model": "openai/small",
    "host": "api.example.com",
    "lane": "live",
    "texts": 3,
    "tokens": 70,
    "dimensions": 384,
    "outcome": "answered",
    "attempt": 0,
    "started_us": 1_700_000_000_000_000,
    "seconds": 0.3,
    "cost_usd": 0.25,
}


class Noon(SystemClock):
    """A clock that stands."""

    def now_us(self) -> int:
        return 1_700_000_000_500_000


def made(*events: tuple[Event, dict[str, Any]]) -> Metrics:
    metrics = Metrics(["notes"], "1.2.3", Noon())
    emit = metrics.following(unheard)
    for event, fields in events:
        emit(event, fields)
    return metrics


def samples(metrics: Metrics, report: Report | None = None) -> dict[str, float]:
    """Read as Prometheus does: `name{label=value,...}` and its value, labels in order."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.text(report or Report(0.0, {}))):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.mark.parametrize("metric", METRICS, ids=lambda it: it.name)
def test_names_units_and_labels_keep_to_the_rules(metric: Metric) -> None:
    assert re.fullmatch(r"headwater(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    if metric.unit.startswith("seconds"):
        assert metric.name.endswith("_seconds")
    assert not re.search(r"_(ms|us|millis\w*|micro\w*|kb|mb|percent)\b", metric.name), "base units only"
    assert bool(metric.buckets) is (metric.kind is Kind.HISTOGRAM)
    assert set(metric.labels) <= BOUNDED
    assert metric.help[0].isupper() or metric.help[0].isdigit()
    assert "\n" not in metric.help


def test_the_table_names_every_metric_once() -> None:
    assert len({it.name for it in METRICS}) == len(METRICS)
    assert {it for it in vars(module).values() if isinstance(it, Metric)} == set(METRICS)
    families = {it.name: it for it in text_string_to_metric_families(made().text(Report(0.0, {})))}
    assert families.keys() == {it.name.removesuffix("_total") for it in METRICS}
    for metric in METRICS:
        assert families[metric.name.removesuffix("_total")].type == metric.kind
        assert families[metric.name.removesuffix("_total")].documentation == metric.help


def test_the_docs_name_metrics_that_there_are() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/how-to/observe.md").read_text()
    named = {it.removesuffix("_bucket") for it in re.findall(r"headwater_\w+", page)}
    assert len(named) > 8
    assert named <= {it.name for it in METRICS}
    for block in re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        assert YAML(typ="safe").load(block)


def test_a_stream_is_there_from_the_start() -> None:
    found = samples(made())
    for outcome in Outcome:
        assert found[f"headwater_changes_total{{outcome={outcome},stream=notes}}"] == 0
    assert found["headwater_dead_letters_total{stream=notes}"] == 0
    assert found["headwater_incidents{incident=model-drift,stream=notes}"] == 0
    assert found["headwater_budget_reached{level=hard,stream=notes}"] == 0
    assert found["headwater_freshness_seconds_count{stream=notes}"] == 0
    assert found["headwater_build_info{version=1.2.3}"] == 1


def test_what_was_settled_is_counted_by_outcome_and_timed() -> None:
    metrics = made()
    emit = metrics.following(unheard)
    for outcomes, ages in (({"indexed": 2, "superseded": 5}, [0.2, 45.0]), ({"indexed": 1}, [-3.0])):
        emit(Event.CHANGES_SETTLED, {"stream": "notes", "changes": 8, "outcomes": outcomes, "freshness_s": ages})
    found = samples(metrics)
    assert found["headwater_changes_total{outcome=indexed,stream=notes}"] == 3
    assert found["headwater_changes_total{outcome=superseded,stream=notes}"] == 5
    assert found["headwater_freshness_seconds_count{stream=notes}"] == 3
    assert found["headwater_freshness_seconds_sum{stream=notes}"] == pytest.approx(45.2), "the future counts as now"
    assert found["headwater_freshness_seconds_bucket{le=0.25,stream=notes}"] == 2
    assert found["headwater_last_success_timestamp_seconds{stream=notes}"] == 1_700_000_000.5


def test_calls_to_the_model_are_counted_by_how_they_ended() -> None:
    ends = ("answered", "answered", "rate_limited", "overloaded", "failed", "rejected", "refused", "abandoned")
    found = samples(made(*((Event.EMBEDDING_CALLED, {**CALLED, "outcome": end}) for end in ends)))
    assert found["headwater_embedding_requests_total{lane=live,model=openai/small,outcome=answered}"] == 2
    assert found["headwater_embedding_requests_total{lane=live,model=openai/small,outcome=rejected}"] == 1
    assert found["headwater_embedding_texts_total{lane=live,model=openai/small}"] == 6, "only what was embedded"
    assert found["headwater_embedding_tokens_total{lane=live,model=openai/small}"] == 140
    assert found["headwater_embedding_cost_usd_total{lane=live,model=openai/small}"] == pytest.approx(8 * 0.25)
    assert found["headwater_embedding_duration_seconds_count{lane=live,model=openai/small}"] == 8
    assert found["headwater_embedding_duration_seconds_bucket{lane=live,le=0.32,model=openai/small}"] == 8
    assert {name for name in found if name.startswith("headwater_retries_total")} == {
        f"headwater_retries_total{{model=openai/small,reason={reason}}}"
        for reason in ("rate_limited", "overloaded", "failed")
    }


def test_a_probe_is_not_sent_again() -> None:
    found = samples(made((Event.EMBEDDING_CALLED, {**CALLED, "lane": "probe", "outcome": "failed"})))
    assert not [name for name in found if name.startswith("headwater_retries_total")]


def test_what_an_event_tells_is_read() -> None:
    measured = {"stream": "notes", "brokers": 3, "partitions": 4, "lag": 17, "rebalances": 1}
    found = samples(
        made(
            (Event.CHANGE_DEAD, {"stream": "notes", "id": "a", "version": "1", "reason": "no kind"}),
            (Event.WRITES_REFUSED, {"stream": "notes", "verdict": "stale", "documents": 4}),
            (Event.LOG_MEASURED, measured),
            (Event.INCIDENT_RAISED, {"stream": "notes", "incident": "model-drift", "detail": "cosine 0.4"}),
            (Event.BUDGET_REACHED, {"stream": "notes", "budget": "soft", "spent": 5.0, "limit": 5.0}),
        )
    )
    assert found["headwater_dead_letters_total{stream=notes}"] == 1
    assert found["headwater_stale_writes_rejected_total{stream=notes,verdict=stale}"] == 4
    assert found["headwater_lag_records{stream=notes}"] == 17
    assert found["headwater_partitions{stream=notes}"] == 4
    assert found["headwater_incidents{incident=model-drift,stream=notes}"] == 1
    assert found["headwater_incidents{incident=silent-truncation,stream=notes}"] == 0
    assert found["headwater_budget_reached{level=soft,stream=notes}"] == 1
    assert found["headwater_budget_reached{level=hard,stream=notes}"] == 0


def test_an_incident_that_ended_stands_no_longer() -> None:
    fields = {"stream": "notes", "incident": "silent-truncation"}
    found = samples(made((Event.INCIDENT_RAISED, {**fields, "detail": ""}), (Event.INCIDENT_ENDED, fields)))
    assert found["headwater_incidents{incident=silent-truncation,stream=notes}"] == 0


@pytest.mark.parametrize("standing", Standing)
def test_ready_is_what_readyz_says(standing: Standing) -> None:
    report = Report(0.0, {"notes": standing})
    said = answer("/readyz", report, 0.0)
    assert said is not None
    assert samples(made(), report)["headwater_stream_ready{stream=notes}"] == (said.status == 200)


def test_a_dependency_is_down_while_it_is_waited_for() -> None:
    metrics = made()
    away = Report(0.0, {"notes": Standing.WAITING}, away={"notes": ["kafka"]})
    name = "headwater_dependency_up{dependency=kafka,stream=notes}"
    assert name not in samples(metrics)
    assert samples(metrics, away)[name] == 0
    assert samples(metrics, Report(1.0, {"notes": Standing.RUNNING}))[name] == 1
    assert samples(metrics, away)[name] == 0


def test_every_event_is_handed_on() -> None:
    heard: list[tuple[Event, dict[str, Any]]] = []
    emit = Metrics(["notes"], "1", Noon()).following(lambda event, fields: heard.append((event, fields)))
    events = [(Event.STREAM_STARTED, {"stream": "notes"}), (Event.EMBEDDING_CALLED, CALLED)]
    for event, fields in events:
        emit(event, fields)
    assert heard == events


def test_documents_make_no_samples_and_are_in_none() -> None:
    few = made((Event.CHANGE_DEAD, {"stream": "notes", "id": "planted-0", "version": "1", "reason": "planted words"}))
    incident = {"stream": "notes", "incident": "model-drift", "detail": "planted words"}
    many = made(
        (Event.INCIDENT_RAISED, incident),
        *(
            (Event.CHANGE_DEAD, {"stream": "notes", "id": f"planted-{n}", "version": str(n), "reason": f"planted {n}"})
            for n in range(500)
        ),
    )
    assert samples(few).keys() == samples(many).keys()
    assert "planted" not in many.text(Report(0.0, {}))


def test_counting_and_reading_on_two_threads_lose_nothing() -> None:
    metrics = made()
    emit = metrics.following(unheard)
    done = threading.Event()
    read: list[str] = []

    def scrape() -> None:
        while not done.is_set():
            read.append(metrics.text(Report(0.0, {"notes": Standing.RUNNING}, away={"notes": ["kafka"]})))

    scraping = threading.Thread(target=scrape)
    scraping.start()
    for number in range(3000):
        emit(Event.EMBEDDING_CALLED, {**CALLED, "model": f"openai/{number % 50}"})
    done.set()
    scraping.join()
    assert len(read) > 1
    texts = [value for name, value in samples(metrics).items() if name.startswith("headwater_embedding_texts_total")]
    assert sum(texts) == 9000
