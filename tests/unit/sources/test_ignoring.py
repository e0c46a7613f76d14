"""Ignore files against Git itself, which is asked what it would leave out of the same folder."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.sources.ignoring import Ignoring
from headwater.sources.scan import Walk
from headwater.sources.selecting import Choice

IGNORE = ".headwaterignore"
FILES = [
    "a",
    "b.md",
    "c/a",
    "c/b.md",
    "c/d/a",
    "c/d/b.md",
    "c/d/e/[x]",
    "d/c",
    "d/ a ",
    "d/#a",
    "d/!b",
    "d/-]\\",
    "ab/ab.ab/aab",
    "e/ü.md",
]

#: What a line is made of. `x**/` with anything but a slash before the stars is left out: there Git and its own manual
#: differ, and we follow the manual.
LETTERS = r"a b c d e ab .md * ? / /**/ [ab] [!a] [^b] [a-d] []a] [[:alpha:]] \a \* \ [ ] # ! - [\]-] [b-a] [[:no:]] ü"
PIECES = st.sampled_from([*LETTERS.split(), " ", "\\ "])
LINES = st.tuples(st.sampled_from(["", "", "!", "/", "**/", "!/", "#"]), st.lists(PIECES, max_size=5)).map(
    lambda it: it[0] + "".join(it[1])
)
ENDS = st.sampled_from(["", "", "/", "/**", " ", "  ", "\r", "/*"])
TEXTS = st.lists(st.tuples(LINES, ENDS).map("".join), max_size=6)

git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def kept_by_git(root: Path, exclude: list[str]) -> list[str]:
    """What Git lists as untracked: all but what the ignore files leave out."""
    command = ["git", "-c", "core.excludesFile=", "ls-files", "-z", "-o", f"--exclude-per-directory={IGNORE}"]
    listed = subprocess.run(
        [*command, *(f"--exclude={line}" for line in exclude)], cwd=root, capture_output=True, check=True
    )
    return sorted(set(listed.stdout.decode().split("\0")) - {""})


def kept(root: Path, exclude: list[str]) -> list[str]:
    walk = Walk(root, Choice(("**/*",), tuple(exclude), (IGNORE,))).run()
    assert not walk.skipped
    return sorted(found.id for found in walk.files if not found.id.startswith(".git/"))


def repository(root: Path, ignored: dict[str, list[str]]) -> None:
    subprocess.run(["git", "init", "-q", root], check=True, capture_output=True)
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for folder, lines in ignored.items():
        (root / folder / IGNORE).write_bytes("\n".join(lines).encode())


@git
@settings(max_examples=150, deadline=None, derandomize=True)
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_the_same_files_as_git(exclude: list[str], top: list[str], middle: list[str], deep: list[str]) -> None:
    # Of its command line Git takes spaces, comments and ends of lines as they stand.
    exclude = [line for line in exclude if line.rstrip(" \r") == line and line[:1] not in ("", "#")]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        repository(root, {"": top, "c": middle, "c/d": deep})
        assert kept(root, exclude) == kept_by_git(root, exclude)


@pytest.mark.parametrize("count", [2, 30])
def test_a_hostile_pattern_takes_no_longer(count: int) -> None:
    # With 30 stars and no atomic groups this would not end within the age of the universe.
    stars = Ignoring(["*a" * count + "b"])
    assert not stars.ignores("a" * 250, folder=False)
    spans = Ignoring(["**/a*/" * count + "b"])
    assert not spans.ignores("a/" * 400 + "a", folder=False)
    assert spans.ignores("x/a1/" * count + "b", folder=False)


def test_what_a_file_left_out_is_not_taken_in_above_it_but_below() -> None:
    top = Ignoring(["*.tmp"]).deeper("", "drafts/\n*.log\n!keep.log\n")
    assert top.ignores("drafts", folder=True)
    assert not top.ignores("drafts", folder=False)
    assert top.ignores("x/a.log", folder=False)
    assert not top.ignores("keep.log", folder=False)
    deep = top.deeper("x/", "!a.log\n!a.tmp\n/only")
    assert not deep.ignores("x/a.log", folder=False)
    assert deep.ignores("x/a.tmp", folder=False), "the configuration decides first"
    assert deep.ignores("x/only", folder=False)
    assert not deep.ignores("x/y/only", folder=False)
