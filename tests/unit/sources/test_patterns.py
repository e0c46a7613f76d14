"""Glob patterns: as pathlib reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.sources.patterns import matcher

FILES = ["a.md", "b.txt", ".hidden.md", "x/a.md", "x/y/a.md", "x/y/z/b.MD", "x/.git/c.md", "[odd].md", "x/y.md/d.txt"]


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "*.md",
        "**/*.md",
        "x/*.md",
        "x/**/*.md",
        "**/y/**/*",
        "?.md",
        "[ab].*",
        "[!a].txt",
        "[[]odd].md",
        "./a.md",
        "**/x/y/*.md",
        "x/*/a.md",
        "nothing/*.md",
        "**/*",
        "x/y.md/*",
        "*/*",
        "**/**/a.md",
    ],
)
def test_the_same_files_as_pathlib(tmp_path: Path, pattern: str) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    expected = {it.relative_to(tmp_path).as_posix() for it in tmp_path.glob(pattern) if it.is_file()}
    wanted = matcher([pattern])
    assert {name for name in FILES if wanted(name)} == expected


def test_several_patterns_none_and_a_last_double_star() -> None:
    both = matcher(["*.md", "x/**"])
    assert [name for name in FILES if both(name)] == [
        name for name in FILES if name.startswith("x/") or (name.endswith(".md") and "/" not in name)
    ]
    assert not matcher([])("a")
