"""The corpus, which `make corpus` puts into build/corpus."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.acceptance.corpus import ROOT, Corpus, load


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    folder = Path(os.environ.get("HEADWATER_CORPUS") or ROOT / "build" / "corpus")
    if not (folder / "report.json").exists():
        missing = f"there is no corpus in {folder}: run `make corpus`"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return load(folder)
