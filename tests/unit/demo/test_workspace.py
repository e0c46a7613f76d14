"""The demo's folder: empty at the start, gone at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.demo.workspace import cache, workspace


def fill(folder: Path) -> None:
    (folder / "docs").mkdir()
    (folder / "docs" / "a.txt").write_text("x")
    (folder / "headwater.db").write_text("x")


def test_what_was_made_goes_even_after_an_error(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        with workspace(folder, keep=False) as place:
            fill(place)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_was_there_stays_and_is_empty_again(tmp_path: Path) -> None:
    with workspace(tmp_path, keep=False) as place:
        fill(place)
    assert not list(tmp_path.iterdir())


def test_keep_leaves_everything(tmp_path: Path) -> None:
    with workspace(tmp_path / "kept", keep=True) as place:
        fill(place)
    assert (tmp_path / "kept" / "docs" / "a.txt").exists()


def test_without_a_name_a_new_folder_is_made() -> None:
    with workspace(None, keep=False) as place:
        assert not list(place.iterdir())
    assert not place.exists()


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache() == tmp_path / "headwater" / "archives"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache() == tmp_path / ".cache" / "headwater" / "archives"
