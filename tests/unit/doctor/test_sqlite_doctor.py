"""What a log in a SQLite file stands on."""

from __future__ import annotations

import pytest

from headwater.doctor.sqlite import FoundFile, judge_file
from headwater.observability.findings import Severity

GIB = 1 << 30


@pytest.mark.parametrize(
    ("found", "severities"),
    [
        (FoundFile("a.db", 5, GIB, 7), {"file": "ok", "disk": "ok", "worker": "ok"}),
        (FoundFile("a.db", None, GIB, None), {"file": "warning", "disk": "ok", "worker": "ok"}),
        (FoundFile("a.db", 5, 1, None), {"file": "ok", "disk": "warning", "worker": "ok"}),
        (FoundFile("a.db", 20 * GIB, GIB, None), {"file": "ok", "disk": "warning", "worker": "ok"}),
        (FoundFile("a.db", None, None, None), {"file": "warning", "disk": "error", "worker": "ok"}),
    ],
)
def test_the_file_its_disk_and_its_worker(found: FoundFile, severities: dict[str, str]) -> None:
    findings = judge_file(found)
    assert {finding.check: finding.severity.value for finding in findings} == severities
    assert all(finding.next for finding in findings if finding.severity is not Severity.OK)
