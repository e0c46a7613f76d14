"""Where a worker's messages come from, as OpenTelemetry is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.cli.run import _consumed
from headwater.observability.telemetry import Consumed
from headwater.settings.loading import load
from headwater.wiring import Site

STREAMS = "streams: {notes: {}, orders: {topic: shop.orders}}\n"


def consumed(folder: Path, log: str) -> dict[str, Consumed]:
    path = folder / "headwater.yaml"
    path.write_text(f"log: {log}\n{STREAMS}")
    return _consumed(Site(load(path, {}), path))


@pytest.mark.parametrize("prefix", ["headwater", "search"])
def test_on_kafka_a_stream_has_its_topic_and_its_group(tmp_path: Path, prefix: str) -> None:
    assert consumed(tmp_path, f"{{url: 'kafka://localhost:9092', prefix: {prefix}}}") == {
        "notes": Consumed(f"{prefix}.notes.changes", f"{prefix}.notes"),
        "orders": Consumed("shop.orders", f"{prefix}.orders"),
    }


def test_a_log_in_a_file_is_no_messaging_system(tmp_path: Path) -> None:
    path = tmp_path / "headwater.yaml"
    path.write_text("streams: {notes: {}}\n")
    assert _consumed(Site(load(path, {}), path)) == {}
