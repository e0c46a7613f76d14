"""Archives: found by digest, fetched whole or not at all, and what is said when they cannot be had."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from headwater.demo.archives import find, provide
from headwater.demo.pins import Release
from headwater.errors import Unreachable

CONTENT = b"an archive"
RELEASE = Release("9.9", hashlib.sha256(CONTENT).hexdigest())


def test_an_archive_is_known_by_its_digest(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (first / "django-9.9.tar.gz").write_bytes(b"another archive")
    assert find([first, second, tmp_path / "none"], RELEASE) is None
    (second / "Django-9.9.tar.gz").write_bytes(CONTENT)
    assert find([first, second], RELEASE) == second / "Django-9.9.tar.gz"


def test_what_is_there_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "Django-9.9.tar.gz").write_bytes(CONTENT)
    said: list[str] = []
    assert provide([tmp_path], [RELEASE], said.append) == {RELEASE: tmp_path / "Django-9.9.tar.gz"}
    assert not said


def test_without_an_index_the_error_names_the_next_step_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    said: list[str] = []
    with pytest.raises(Unreachable) as caught:
        provide([tmp_path / "archives"], [RELEASE], said.append)
    assert "9.9" in said[0]
    assert "pip" in said[0]
    assert str(tmp_path / "archives") in str(caught.value)
    assert "django-9.9.tar.gz" in str(caught.value)
    assert not list((tmp_path / "archives").iterdir())
