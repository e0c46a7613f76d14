"""PURE: a labelled set out of documentation in reStructuredText: a section's title asks, its passage is the answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

#: A passage is a section's own text, without its title and its subsections, if it has so many characters.
LEAST, MOST = 200, 2500

_RULE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}")
_LABEL = re.compile(r"^\.\. _[^:]+:\s*$", re.MULTILINE)
_ROLE = re.compile(r":[\w:.-]+:`~?([^`<]+?)(?:\s*<[^`>]*>)?`")
_BORDER = re.compile(r"([^\w\s])\1{3,}")
_BLANK_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True)
class Passage:
    """One section. Its id tells nothing of what it is about."""

    id: str
    title: str
    text: str


def sections(document: str) -> Iterator[tuple[str, str]]:
    """Yield (title, own text) of each section: a title is a line that stands over a rule at least as long."""
    lines = document.splitlines()
    title, begin = "", 0
    for at in range(1, len(lines)):
        above, line = lines[at - 1].rstrip(), lines[at].rstrip()
        if above and not above[0].isspace() and not _is_rule(above) and _is_rule(line) and len(line) >= len(above):
            over = 1 if at > 1 and lines[at - 2].rstrip() == line else 0
            if title:
                yield title, _own(lines[begin : at - 1 - over])
            title, begin = plain(above), at + 1
    if title:
        yield title, _own(lines[begin:])


def plain(title: str) -> str:
    """Return a title as a person would type it, without markup."""
    return " ".join(_ROLE.sub(r"\1", title).replace("\\", "").replace("`", "").split())


def passages(documents: Mapping[str, str], most: int) -> list[Passage]:
    """Return at most so many passages, chosen and ordered by digest: the same from the same documents."""
    found = {
        (title, text): sha256(f"{name}\0{title}\0{text}".encode()).hexdigest()
        for name, document in sorted(documents.items())
        for title, text in sections(document)
        if LEAST <= len(text) <= MOST
    }
    chosen = sorted(found.items(), key=lambda it: it[1])[:most]
    return [Passage(f"p{number:04}", title, text) for number, ((title, text), _) in enumerate(chosen)]


def questions(of: Iterable[Passage], most: int) -> list[Passage]:
    """Return at most so many passages whose titles ask for them alone: of two words or more, and nobody else's."""
    known = list(of)
    times = Counter(it.title.casefold() for it in known)
    asking = [it for it in known if times[it.title.casefold()] == 1 and len(it.title.split()) > 1]
    return asking[:most]


def _is_rule(line: str) -> bool:
    return _RULE.fullmatch(line) is not None


def _own(lines: list[str]) -> str:
    """The text without labels, as the next section's stands here and names it, and with the borders of tables short, as
    each of their marks would be a token.
    """
    bare = _BORDER.sub(r"\1\1\1", _LABEL.sub("", "\n".join(lines)))
    return _BLANK_LINES.sub("\n\n", bare).strip()
