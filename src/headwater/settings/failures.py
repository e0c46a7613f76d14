"""What goes wrong with a configuration: all of it at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from headwater.errors import HeadwaterError, Misconfigured

_SHOWN_CHARACTERS = 60


class ConfigurationErrors(HeadwaterError):
    """Every error of one file, in the order of their places. Each has a code of its own."""

    code = "wrong-value"

    def __init__(self, errors: Iterable[Misconfigured]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: (error.line or 0, error.column or 0)))
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))


class Unfit(ValueError):
    """A text does not say what it should. `hint` and `got` never quote the text: it may hold a secret."""

    def __init__(
        self, expected: str, hint: str | None = None, *, got: str = "something else", code: str = "wrong-value"
    ) -> None:
        super().__init__(expected)
        self.code = code
        self.expected = expected
        self.hint = hint
        self.got = got


def shown(value: object) -> str:
    """Show a value of the file as it would be written there, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, int | float):
        return _shortened(str(value))
    return _shortened(repr(value))


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Suggest the valid name that was probably meant."""
    # Only the first characters: comparing is quadratic, and no name is longer.
    found = get_close_matches(word[:64], list(names), n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else None


def listed(names: Iterable[str], conjunction: str = "or") -> str:
    """Join names as prose has them: `a, b or c`."""
    *first, last = names
    return f"{', '.join(first)} {conjunction} {last}" if first else last


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
