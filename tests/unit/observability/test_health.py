"""What the probes answer, decided from a report."""

from __future__ import annotations

import pytest

from headwater.observability.health import SILENT_S, Report, Standing, answer


def status(path: str, report: Report, now_s: float = 100.0) -> int:
    found = answer(path, report, now_s)
    assert found is not None
    return found.status


@pytest.mark.parametrize("standing", Standing)
def test_ready_is_a_stream_that_runs_or_that_a_person_paused(standing: Standing) -> None:
    report = Report(100.0, {"one": Standing.RUNNING, "two": standing})
    found = answer("/readyz", report, 100.0)
    assert found is not None
    assert not isinstance(found.body, str)
    assert (found.status == 200) is (standing in (Standing.RUNNING, Standing.PAUSED))
    assert found.body["ready"] is (found.status == 200)
    assert found.body["streams"] == {"one": "running", "two": standing.value}


@pytest.mark.parametrize("standing", Standing)
def test_alive_says_nothing_of_streams(standing: Standing) -> None:
    assert status("/livez", Report(100.0, {"one": standing})) == 200


def test_a_silent_loop_is_neither_alive_nor_ready() -> None:
    report = Report(100.0, {"one": Standing.RUNNING})
    assert status("/livez", report, 100.0 + SILENT_S) == 200
    for path in ("/livez", "/readyz"):
        assert status(path, report, 100.1 + SILENT_S) == 503


def test_a_worker_that_stops_is_alive_and_not_ready() -> None:
    report = Report(100.0, {"one": Standing.RUNNING}, stopping=True)
    assert status("/livez", report) == 200
    assert status("/readyz", report) == 503


@pytest.mark.parametrize("path", ["/", "/healthz", "/livez/", "livez", ""])
def test_there_is_nothing_else(path: str) -> None:
    assert answer(path, Report(100.0, {}), 100.0) is None
