"""The same releases as a folder on the disk, each copied over the one before, as a user would."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.demo.processes import Headwater
from tests.acceptance.corpus import Corpus, judged
from tests.acceptance.site import STREAM, configure

pytestmark = pytest.mark.corpus


def copy_over(release: Path, folder: Path) -> None:
    """Make the folder hold the release's files. Every file is written, those that stay the same too."""
    for path in files(folder):
        if not (release / path).exists():
            (folder / path).unlink()
    shutil.copytree(release, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)


def files(folder: Path) -> Iterator[Path]:
    return (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def as_changes(folder: Path) -> list[dict[str, Any]]:
    """What somebody would have published to get this folder."""
    return [{"id": path.as_posix(), "text": (folder / path).read_bytes().decode()} for path in files(folder)]


def test_the_index_follows_a_folder(corpus: Corpus, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    configure(tmp_path, source="docs")
    headwater = Headwater(tmp_path)
    settled = 0
    for release in corpus.releases:
        copy_over(release.folder, folder)
        headwater.call("run", "--once")
        status = headwater.document("status", "--json")["streams"][STREAM]
        settled += len(release.changes)
        assert sum(status["outcomes"].values()) == settled, "a file that stayed the same is no change"
        assert status["lag"]["records"] == 0
        assert not any(status["dead_letters"].values())
    verified = headwater.document("verify", STREAM, "--json", codes=(0, 5))
    assert verified["ok"], verified
    assert judged(as_changes(folder), headwater.call("export", STREAM, "--jsonl"), tmp_path) == ""
