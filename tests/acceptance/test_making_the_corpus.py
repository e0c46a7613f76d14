"""tools/corpus.py: needs nothing but Python once the archives are there, and never leaves half a corpus."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.corpus import ROOT, Corpus

pytestmark = pytest.mark.corpus


def make(out: Path) -> subprocess.CompletedProcess[str]:
    """Run the tool without site packages and without a package index."""
    command = [sys.executable, "-S", "-E", str(ROOT / "tools" / "corpus.py"), str(out)]
    environment = {**os.environ, "PIP_NO_INDEX": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_archives_give_the_same_corpus(corpus: Corpus, tmp_path: Path) -> None:
    made = corpus.releases[0].folder.parent.parent
    (tmp_path / "archives").symlink_to(made / "archives")
    (tmp_path / "releases" / "1-0.9").mkdir(parents=True)  # what a broken run of another version left
    (tmp_path / "changes.jsonl").write_text("half a li")
    done = make(tmp_path)
    assert done.returncode == 0, done.stderr
    assert sha256(tmp_path / "changes.jsonl") == sha256(made / "changes.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives", "changes.jsonl", "releases", "report.json"]
    assert sorted(path.name for path in (tmp_path / "releases").iterdir()) == [
        release.folder.name for release in corpus.releases
    ]
    report = json.loads((tmp_path / "report.json").read_text())
    assert [step["release"] for step in report["steps"]] == [release.version for release in corpus.releases]
    (tmp_path / "archives").unlink()
    again = make(tmp_path)
    assert (again.returncode, again.stdout) == (0, done.stdout), "a whole corpus needs no archives"
    (tmp_path / "changes.jsonl").write_text("changed by hand")
    assert make(tmp_path).returncode == 4, "what was changed is made anew, and without an index that ends here"
    assert not list((tmp_path / "archives").iterdir())
