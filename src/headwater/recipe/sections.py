"""Sections: the headings of a text, and what stands under each.

Markdown has ATX headings (`## Title`) and setext ones (underlined), none of them inside fenced code. Plain text has
underlined headings as reStructuredText writes them: the adornment's first appearance sets its level. An underline
shorter than its title still counts from three characters on, so that an edit of a title does not unmake its section.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from headwater.recipe.options import Format

#: Part of the `chunk` fingerprint: raise it when the same text gives other sections.
REVISION = 1

#: A line that is longer is no heading, whatever it looks like.
MAX_HEADING = 300

_ATX = re.compile(r"^ {0,3}(#{1,6})(?=[ \t\r\n]|\Z)([^\n]*)", re.MULTILINE)
_CLOSING = re.compile(r"(?:^|[ \t])#+$")
# Rows below another line. They begin with the line break, because a fixed first character is found three times faster.
_SETEXT = re.compile(r"\n((?:={2,}|-{2,})[ \t\r]*)$", re.MULTILINE)
_ADORNMENT = re.compile(r"\n(([!-/:-@\[-`{-~])\2{2,}[ \t\r]*)$", re.MULTILINE)
_ROW = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\Z")
#: Three of these under a line are more often an ellipsis or a fence than an underline.
_ALSO_PROSE = ".`"
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)", re.MULTILINE)


class Heading(NamedTuple):
    """One heading: its lines `[start, end)` with underline and overline, without line end. 1 is the highest level."""

    start: int
    end: int
    level: int
    title: str


class Section(NamedTuple):
    """A heading and what follows up to the next one of whatever level. `path` is of titles, the highest level first."""

    start: int
    end: int
    path: tuple[str, ...]


class Span(NamedTuple):
    """A stretch of text."""

    start: int
    end: int


def headings(text: str, form: Format, fenced: list[Span]) -> list[Heading]:
    """Find the headings of a text, in order. `fenced` is what `fences` found."""
    if form == "text":
        return _rest_levels(_underlined(text, _ADORNMENT, loose=True))
    found = [
        Heading(start, end, 1 if mark == "=" else 2, title)
        for start, end, mark, title in _underlined(text, _SETEXT, loose=False)
    ]
    found += _atx(text)
    found.sort()
    return _outside(found, fenced)


def fences(text: str, form: Format) -> list[Span]:
    """Find fenced code in Markdown. A fence that is never closed runs to the end of the text."""
    spans: list[Span] = []
    if form != "markdown":
        return spans
    opened, mark = -1, ""
    for match in _FENCE.finditer(text):
        run, info = match[1], match[2]
        if opened < 0:
            if run[0] == "~" or "`" not in info:
                opened, mark = match.start(), run
        elif run.startswith(mark) and not info.strip():
            spans.append(Span(opened, match.end()))
            opened = -1
    if opened >= 0:
        spans.append(Span(opened, len(text)))
    return spans


def paths(found: list[Heading]) -> list[tuple[str, ...]]:
    """Give the path of titles down to each heading, itself included."""
    result = []
    open_: list[Heading] = []
    for heading in found:
        while open_ and open_[-1].level >= heading.level:
            open_.pop()
        open_.append(heading)
        result.append(tuple(one.title for one in open_))
    return result


def sections(text: str, form: Format) -> list[Section]:
    """Cut a text at its headings. What stands before the first one has an empty path."""
    found = headings(text, form, fences(text, form))
    starts = [0, *(heading.start for heading in found)]
    ends = [*starts[1:], len(text)]
    whole = zip(starts, ends, [(), *paths(found)], strict=True)
    return [Section(start, end, path) for start, end, path in whole if start < end]


def _atx(text: str) -> list[Heading]:
    """Find `# Title` lines."""
    if "#" not in text:
        return []
    return [
        Heading(match.start(), match.end(), len(match[1]), _CLOSING.sub("", match[2].strip()).strip())
        for match in _ATX.finditer(text)
        if match.end() - match.start() <= MAX_HEADING
    ]


def _underlined(text: str, pattern: re.Pattern[str], *, loose: bool) -> list[tuple[int, int, str, str]]:
    """Find (start, end, adornment, title) of underlined lines; an overlined one has its adornment twice.

    A title is one line and the first of its block: the last line of a paragraph above a row of dashes is none. `loose`
    is reStructuredText: overlines, and a minimum for the underline's length.
    """
    found: list[tuple[int, int, str, str]] = []
    done = 0
    for match in pattern.finditer(text):
        under = match.start(1)
        if under - 1 <= done and done:
            continue
        begin = text.rfind("\n", max(0, under - MAX_HEADING), max(0, under - 1)) + 1
        if begin < done or (begin == 0 and under > MAX_HEADING):
            continue
        line = text[begin : under - 1]
        title = line.strip()
        if not title:
            continue
        mark = text[under]
        above = _line_before(text, begin, done)
        row = match[1].rstrip()
        if loose and _ROW.match(above) and above[0] == mark and _enough(row) and not _ROW.match(title):
            found.append((text.rfind("\n", 0, begin - 1) + 1, match.end(), mark * 2, title))
        elif not above and _titular(line, title, row, loose=loose):
            found.append((begin, match.end(), mark, title))
        else:
            continue
        done = match.end()
    return found


def _titular(line: str, title: str, under: str, *, loose: bool) -> bool:
    """Tell whether a line can be a title above this underline."""
    if loose:
        long_enough = _enough(under) or len(under) >= len(title)
        return not line[0].isspace() and long_enough and not _ROW.match(title)
    return not line.startswith(("    ", "\t", ">", "#", "- ", "* ", "+ ", "|"))


def _enough(row: str) -> bool:
    """Tell whether a row of punctuation is an adornment, however long its title is."""
    return row[0] not in _ALSO_PROSE or len(row) > 3


def _line_before(text: str, begin: int, done: int) -> str:
    """Give the line above a position, stripped; nothing when it belongs to the heading before."""
    if begin <= max(done + 1, 1):
        return ""
    above = text.rfind("\n", max(0, begin - MAX_HEADING), begin - 1) + 1
    return text[max(above, begin - MAX_HEADING) : begin].strip()


def _rest_levels(found: list[tuple[int, int, str, str]]) -> list[Heading]:
    """Number the adornments by first appearance."""
    levels: dict[str, int] = {}
    return [Heading(start, end, levels.setdefault(mark, len(levels) + 1), title) for start, end, mark, title in found]


def _outside(found: list[Heading], fenced: list[Span]) -> list[Heading]:
    """Drop the headings inside fenced code, and those that overlap the one before."""
    kept: list[Heading] = []
    spans = iter([*fenced, Span(1 << 62, 1 << 62)])
    span = next(spans)
    for heading in found:
        while span.end <= heading.start:
            span = next(spans)
        if span.start >= heading.end and (not kept or heading.start >= kept[-1].end):
            kept.append(heading)
    return kept
