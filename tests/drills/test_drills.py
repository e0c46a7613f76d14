"""Each drill once, short. Longer ones by hand: `python -m tests.drills NAME --seconds 600`."""

from __future__ import annotations

import pytest

from tests.acceptance.corpus import Corpus
from tests.drills.drill import DRILLS, run
from tests.kafka.fixtures import needs

#: Harm that is done in the test run, in seconds.
SECONDS = {"workers": 20, "brokers": 25}
USUAL_S = 12

pytestmark = [pytest.mark.kafka, pytest.mark.corpus]


@pytest.mark.parametrize("name", DRILLS)
def test_what_was_acknowledged_survives_the_drill(name: str, corpus: Corpus) -> None:
    needs("broker", *(["tiered"] if DRILLS[name].tiered else []))
    report = run(name, corpus, SECONDS.get(name, USUAL_S), seed=20)
    print(report)
    assert report.judgement.violations == []
    assert report.harmless == [], "this never occurred"
