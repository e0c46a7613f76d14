"""The page of every error code, read from `error_pages.toml` beside this file: for a terminal and for the reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

_HEAD = """\
# Errors

<!-- Generated from src/headwater/cli/error_pages.toml. -->

Every error ends with its code in brackets, or begins with it where a guarantee is at stake. `headwater explain CODE`
prints its page. With `--json`, and in log lines as JSON, the code is a field of its own. Codes are stable: scripts may
depend on them, and on [the exit code](cli.md#exit-codes).
"""

_TITLES = {
    "configuration": "The configuration",
    "command": "The command and its input",
    "away": "What is away or cannot be used",
    "guarantee": "A guarantee is at stake",
}


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of one code. `steps` are what to do, in this order."""

    title: str
    exit: int
    means: str
    steps: tuple[str, ...]
    why: str = ""


def pages() -> dict[str, Page]:
    """Return all pages by their codes."""
    return {code: page for room in _rooms().values() for code, page in room.items()}


def lines(code: str) -> Iterator[str]:
    """Return the page of a code as a terminal shows it."""
    page = pages()[code]
    yield f"{code}: {page.title}"
    yield f"exit code {page.exit}"
    yield ""
    yield page.means
    if page.why:
        yield f"Why: {page.why}"
    yield "What to do:"
    yield from (f"  - {step}" for step in page.steps)


def reference() -> str:
    """Return the reference of all codes, in Markdown."""
    return "\n".join([_HEAD, *(line for name, room in _rooms().items() for line in _section(_TITLES[name], room))])


def _rooms() -> dict[str, dict[str, Page]]:
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    return msgspec.toml.decode(text, type=dict[str, dict[str, Page]])


def _section(title: str, room: dict[str, Page]) -> Iterator[str]:
    yield f"## {title}\n"
    for code, page in room.items():
        yield f"### {code}\n"
        yield f"**{page.title}.** Exit code {page.exit}.\n"
        yield f"{page.means}\n"
        if page.why:
            yield f"Why: {page.why}\n"
        yield "".join(f"- {step}\n" for step in page.steps)
