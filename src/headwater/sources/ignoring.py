"""PURE: which paths the lines of ignore files leave out, in the syntax of .gitignore.

As Git reads them, but by characters where Git compares bytes: `?` is one letter, also an `ü`. The last line of a file
that matches decides, a file deeper in the tree before one above it; beneath a folder that is left out nothing is
looked at, so nothing there can be taken in again. No pattern takes longer than its length times the path's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_NOTHING = "(?!)"
_POSIX = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": " \\t",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": " \\t\\n\\r\\f\\v",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}


class _Line(NamedTuple):
    """One line: what it matches, whether names alone or whole paths, whether only folders, and what it then says."""

    pattern: re.Pattern[str]
    names: bool
    folders: bool
    ignores: bool


class _Level(NamedTuple):
    """The lines of one file, the last one first, and how much of a path leads to the folder that it lies in."""

    base: int
    lines: tuple[_Line, ...]


class Ignoring:
    """The lines that hold in one folder: those of the configuration decide first, then the deepest file's."""

    def __init__(self, exclude: Iterable[str] = ()) -> None:
        self._levels: tuple[_Level, ...] = (_Level(0, _lines(exclude)),)

    def deeper(self, folder: str, text: str) -> Ignoring:
        """Return what holds in a folder, given as "" or with a last slash, whose ignore file holds this text."""
        made = Ignoring()
        text = text.removeprefix("\ufeff")
        lines = _lines(line.removesuffix("\r") for line in text.split("\n"))
        made._levels = (self._levels[0], _Level(len(folder), lines), *self._levels[1:])
        return made

    def ignores(self, path: str, *, folder: bool) -> bool:
        """Tell whether a file or folder is left out. The folders above it are not."""
        name = path.rpartition("/")[2]
        for base, lines in self._levels:
            for line in lines:
                if folder >= line.folders and line.pattern.fullmatch(name if line.names else path[base:]):
                    return line.ignores
        return False


def _lines(lines: Iterable[str]) -> tuple[_Line, ...]:
    return tuple(filter(None, map(_line, lines)))[::-1]


def _line(text: str) -> _Line | None:
    if text.startswith("#"):
        return None
    text = _trimmed(text)
    ignores = not text.startswith("!")
    text = text.removeprefix("!")
    folders = text.endswith("/")
    text = text.removesuffix("/")
    names = "/" not in text
    if not text:
        return None
    expression = _expression(text.removeprefix("/"), paths=not names)
    return _Line(re.compile(expression, re.DOTALL), names, folders, ignores)


def _trimmed(text: str) -> str:
    """Cut spaces off the end, but for one that a backslash stands before."""
    bare = text.rstrip(" ")
    if len(bare) < len(text) and (len(bare) - len(bare.rstrip("\\"))) % 2:
        bare += " "
    return bare


def _expression(pattern: str, *, paths: bool) -> str:
    """Translate a pattern.

    It falls into runs between stars. All that may follow a star matches as well behind the first place where the run
    does as behind a later one, so no run but the last is ever tried again: the groups are atomic.
    """
    tokens = list(_tokens(pattern, paths=paths))
    if _NOTHING in tokens:
        return _NOTHING
    spans = _split(tokens, "**/")
    parts = []
    for number, span in enumerate(spans):
        last = number == len(spans) - 1
        inner = _stars(span, settled=not last)
        folders = "(?:[^/]*/)*?" if number else ""
        parts.append(f"{folders}{inner}" if last else f"(?>{folders}{inner})")
    return "".join(parts)


def _stars(tokens: list[str], *, settled: bool) -> str:
    runs = _split(tokens, "*")
    parts = ["".join(runs[0])]
    for number, run in enumerate(runs[1:], 1):
        again = number == len(runs) - 1 and not settled
        parts.append(f"[^/]*{''.join(run)}" if again else f"(?>[^/]*?{''.join(run)})")
    return "".join(parts)


def _split(tokens: list[str], at: str) -> list[list[str]]:
    runs: list[list[str]] = [[]]
    for token in tokens:
        if token == at:
            runs.append([])
        else:
            runs[-1].append(token)
    return runs


def _tokens(pattern: str, *, paths: bool) -> Iterator[str]:
    """Give a pattern's parts as expressions; `*` and `**/` stand for themselves."""
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == "*":
            end = at + len(pattern[at:]) - len(pattern[at:].lstrip("*"))
            spans = paths and end - at > 1 and pattern[at - 1 : at] in ("", "/")
            if spans and end == len(pattern):
                yield ".*"
            elif spans and pattern[end] == "/":
                yield "**/"
                end += 1
            else:
                yield "*"
            at = end
        elif letter == "[":
            at, letters = _letters(pattern, at + 1)
            yield letters
        elif letter == "\\":
            yield re.escape(pattern[at + 1]) if at + 1 < len(pattern) else _NOTHING
            at += 2
        else:
            yield "[^/]" if letter == "?" else re.escape(letter)
            at += 1


def _letters(pattern: str, at: int) -> tuple[int, str]:
    """Read what stands in brackets; return where it ends, and the expression. It never matches a slash."""
    negated = pattern[at : at + 1] in ("!", "^")
    start = at = at + negated
    members: list[str] = []
    while at < len(pattern) and (pattern[at] != "]" or at == start):
        named = re.compile(r"\[:([^\]]*):\]").match(pattern, at)
        if named:
            if named[1] not in _POSIX:
                return len(pattern), _NOTHING
            members.append(_POSIX[named[1]])
            at = named.end()
            continue
        at, low = _letter(pattern, at)
        high = low
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            at, high = _letter(pattern, at + 1)
        # A range that runs backwards is its first letter alone.
        members.append(f"{re.escape(low)}-{re.escape(max(low, high))}")
    if at >= len(pattern):
        return at, _NOTHING
    inside = "".join(members)
    if not inside:
        return at + 1, "[^/]" if negated else _NOTHING
    return at + 1, f"(?!/)[{'^' * negated}{inside}]"


def _letter(pattern: str, at: int) -> tuple[int, str]:
    escaped = pattern[at] == "\\" and at + 1 < len(pattern)
    return at + 1 + escaped, pattern[at + escaped]
