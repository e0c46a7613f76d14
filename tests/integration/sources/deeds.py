"""What may happen to a folder, drawn by hypothesis."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from hypothesis import strategies as st

from tests.integration.sources.ground import IGNORE, Deed, Ground

NAMES = ("a.txt", "b.txt", "d", "e")
#: Three of one length, so that size tells nothing, and one of another.
TEXTS = ("one", "two", "six", "three")
#: What a reader must look at, of one length too: see `MemoryReader`.
DOCUMENTS = ("\0PDF:one", "\0PDF:two", "\0BAD:why")
#: A time stamp that a program sets back. It tells nothing then, and 0 is as good as any.
STAMPS = (None, None, 0, 1_600_000_000_000_000_000)

#: Few, so that much happens to each.
_PATHS = st.sampled_from(["a.txt", "b.txt", "d", "e", "d/a.txt", "e/a.txt", "d/e/b.txt", "a.txt/a.txt"])


def _at(ground: Ground, path: str) -> Path:
    """Where a path lies. What lies behind a link is another folder's business."""
    target = ground.root / path
    if any(folder.is_symlink() for folder in target.parents):
        raise NotADirectoryError
    return target


def write(path: str, text: str, stamp: int | None) -> Deed:
    def deed(ground: Ground) -> None:
        target = _at(ground, path)
        if target.is_symlink():
            target.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        if stamp is not None:
            os.utime(target, ns=(stamp, stamp))

    return deed


def edit_unseen(path: str, text: str) -> Deed:
    """Size and time of the last edit stay as they were."""

    def edit(ground: Ground) -> None:
        before = _at(ground, path).lstat()
        if stat.S_ISREG(before.st_mode) and before.st_size == len(text):
            write(path, text, before.st_mtime_ns)(ground)

    return edit


def _remove(path: str) -> Deed:
    def remove(ground: Ground) -> None:
        target = _at(ground, path)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()

    return remove


def _rename(old: str, new: str) -> Deed:
    def rename(ground: Ground) -> None:
        _at(ground, old).replace(_at(ground, new))

    return rename


def swap(one: str, two: str) -> Deed:
    """Each takes the other's place, whether files or folders."""

    def deed(ground: Ground) -> None:
        a, b, aside = _at(ground, one), _at(ground, two), ground.home / "aside"
        if a.exists() and b.exists() and a not in b.parents and b not in a.parents and a != b:
            a.rename(aside)
            b.rename(a)
            aside.rename(b)

    return deed


def _turn(path: str, text: str) -> Deed:
    """A file becomes a folder of this name with a file in it, a folder a file."""

    def turn(ground: Ground) -> None:
        was_file = _at(ground, path).is_file()
        _remove(path)(ground)
        write(f"{path}/a.txt" if was_file else path, text, None)(ground)

    return turn


def link(path: str, outside: str) -> Deed:
    """A link out of the folder takes a place."""

    def linked(ground: Ground) -> None:
        if _at(ground, path).exists():
            _remove(path)(ground)
        _at(ground, path).symlink_to(ground.outside / outside)

    return linked


def _second_name(path: str, of: str) -> Deed:
    def second_name(ground: Ground) -> None:
        _at(ground, path).hardlink_to(_at(ground, of))

    return second_name


def _ignore(folder: str, names: list[str]) -> Deed:
    def ignore(ground: Ground) -> None:
        _at(ground, f"{folder}/{IGNORE}").write_text("\n".join(names))

    return ignore


DEEDS: st.SearchStrategy[Deed] = st.one_of(
    st.builds(write, _PATHS, st.sampled_from(TEXTS), st.sampled_from(STAMPS)),
    st.builds(write, _PATHS, st.sampled_from(DOCUMENTS), st.sampled_from(STAMPS)),
    st.builds(write, st.sampled_from(["a.txt", "d/a.txt", "e/a.txt"]), st.sampled_from(TEXTS[:3]), st.just(0)),
    st.builds(edit_unseen, _PATHS, st.sampled_from([*TEXTS[:3], *DOCUMENTS])),
    st.builds(_remove, _PATHS),
    st.builds(_rename, _PATHS, _PATHS),
    st.builds(swap, _PATHS, _PATHS),
    st.builds(swap, st.just("d"), st.just("e")),
    st.builds(_turn, _PATHS, st.sampled_from(TEXTS)),
    st.builds(link, _PATHS, st.sampled_from(["a.txt", "d"])),
    st.builds(link, st.sampled_from(["d", "e"]), st.just("d")),
    st.builds(_second_name, _PATHS, _PATHS),
    st.builds(_ignore, st.sampled_from([".", "d", "e"]), st.lists(st.sampled_from(NAMES), max_size=2)),
)
