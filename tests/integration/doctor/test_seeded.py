"""Each misconfiguration is found by its name and nothing else is, and doing what the finding says mends it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headwater.doctor.faults import FAULTS
from headwater.observability.findings import Finding, Severity
from headwater.settings.templates import template
from tests.integration.cli.process import Cli
from tests.integration.doctor.ground import Ground
from tests.integration.doctor.seeds import SEEDS
from tests.provider.provider import Provider

#: What no folder of a test can be: another machine, another Python, another user's rights.
_PURELY = {
    "lint",
    "sqlite-old",
    "sqlite-threads",
    "watches",
    "source-denied",
    "source-network",
    "folder-denied",
    "file-denied",
    "network-disk",
    "disk",
    "model-clear",
    "model-refuses",
    "lag",
}


@pytest.fixture
def ground(base: Path, monkeypatch: pytest.MonkeyPatch, provider: Callable[..., Provider]) -> Iterator[Ground]:
    # Others may come as far as to it, unlike to the folders of other tests: whoever may read what matters here.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "TMPDIR"):
            monkeypatch.delenv(variable, raising=False)
        project = Path(folder) / "project"
        project.mkdir()
        made = Ground(project, base, monkeypatch, provider)
        with closing(made):
            yield made


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of the template makes."""
    folder = tmp_path_factory.mktemp("base")
    with closing(Cli(folder)) as cli:
        cli.write("headwater.yaml", template())
        cli.write("docs/welcome.md", "# Welcome\n\nEvery file in this folder is a document.\n")
        cli("run", "--once")
    return folder


@pytest.mark.parametrize("name", SEEDS)
def test_it_is_found_alone_and_mended_as_told(name: str, ground: Ground) -> None:
    check, plant = SEEDS[name]
    mend = plant(ground)
    findings = ground.findings()
    assert [it.check for it in findings] == [check], findings
    (finding,) = findings
    assert finding.severity is FAULTS[check].severity
    assert finding.why
    assert finding.next
    _told_in_full(finding)
    if mend is not None:
        mend(finding)
        assert ground.findings() == []


def _told_in_full(finding: Finding) -> None:
    """What stands in braces is an example of settings, and no place that was left without its fact."""
    told = f"{finding.what} {finding.why} {finding.next}"
    assert not re.search(r"(?<!\$)\{[a-z_]+\}", told), told


def test_a_sound_folder_has_no_finding(ground: Ground) -> None:
    assert ground.findings() == []
    ground.loaded()
    assert ground.findings() == []
    assert {it.severity for it in ground.examine().findings} == {Severity.OK}


def test_a_folder_that_went_is_not_one_that_others_may_not_read(ground: Ground) -> None:
    ground.loaded()
    (ground.folder / "headwater.db").chmod(0o644)
    (ground.folder / "docs").rename(ground.folder / "away")
    assert [it.check for it in ground.findings()] == ["source-missing"]


def test_every_fault_is_seeded_or_judged_without_a_folder() -> None:
    seeded = {check for check, _ in SEEDS.values()}
    assert seeded | _PURELY == set(FAULTS)
    assert not seeded & _PURELY
    assert len(SEEDS) >= 35


def test_looking_changes_nothing(ground: Ground) -> None:
    ground.loaded()

    def there() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in ground.folder.rglob("*") if path.is_file()}

    before = there()
    ground.examine()
    assert there() == before
