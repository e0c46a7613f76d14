"""Output: data on stdout, messages on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from headwater.cli.failures import Failure

#: What a document or a file name could steer a terminal with.
_CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")


def printable(line: str) -> str:
    """Return a line without what could steer a terminal."""
    return line.translate(_CONTROLS)


def tell(message: str) -> None:
    """Write a message for people."""
    print(printable(message), file=sys.stderr, flush=True)


def say(line: str = "", *, head: str = "") -> None:
    """Write a line of data as people read it, behind what `styled` made."""
    with _stdout():
        print(head + printable(line))


def styled(text: str, style: str) -> str:
    """Return a text in a style (the number of an ANSI escape) where stdout is a terminal that wants it."""
    plain = printable(text)
    wanted = style and sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{style}m{plain}\x1b[0m" if wanted else plain


def were(number: int) -> str:
    """Return the verb that agrees with a number."""
    return "was" if number == 1 else "were"


#: From so many seconds on a duration is told in this unit.
_UNITS = ((365.25 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"))


def rough(seconds: float) -> str:
    """Return a duration as people say it: `0.123 s`, `2.1 h`, `6.9 y`."""
    for size_s, unit in _UNITS:
        if seconds >= size_s:
            return f"{seconds / size_s:.1f} {unit}"
    return f"{seconds:.3f} s"


def write_json(value: Mapping[str, Any]) -> None:
    """Write one JSON document on one line."""
    with _stdout():
        sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")


def flush() -> None:
    """Bring out what was written. At the end of every verb: an error at the interpreter's own end has no good form."""
    with _stdout():
        sys.stdout.flush()


@contextmanager
def _stdout() -> Iterator[None]:
    """Turn what cannot be written into a message. A reader that went away is typer's affair."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in the buffer goes nowhere, instead of failing again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Failure(f"stdout: {error.strerror or error}. What was written is not complete") from error
