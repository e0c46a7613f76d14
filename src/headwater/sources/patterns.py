"""PURE: which relative paths a list of glob patterns means.

They are read as pathlib reads them: `*` stays within one folder, `**` stands for any number of folders, none included.
A last `**` means everything beneath. Names that begin with a dot are names like all others.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence

#: One part of a pattern; None is `**`.
_Part = re.Pattern[str] | None
_ENDING = re.compile(r"\*\*/\*([^*?\[/]+)")


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a path, with forward slashes, matches any of the patterns."""
    patterns = tuple(patterns)
    # Most patterns only look at how a name ends, and there are many of them and many files.
    endings = tuple(found[1] for found in map(_ENDING.fullmatch, patterns) if found)
    compiled = [_compile(pattern) for pattern in patterns if not _ENDING.fullmatch(pattern)]
    return lambda path: path.endswith(endings) or any(_matches(path.split("/"), parts) for parts in compiled)


def _compile(pattern: str) -> list[_Part]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    return [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]


def _matches(names: Sequence[str], parts: Sequence[_Part]) -> bool:
    if not parts or not names:
        return not parts and not names
    head, rest = parts[0], parts[1:]
    if head is not None:
        return head.match(names[0]) is not None and _matches(names[1:], rest)
    return not rest or any(_matches(names[skipped:], rest) for skipped in range(len(names)))
