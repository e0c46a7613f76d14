"""Errors as people and scripts see them: a message that names cause, place and next step, and an exit code."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

from headwater.errors import Halt, HeadwaterError, Misconfigured, Retry, Unreachable
from headwater.settings.failures import ConfigurationErrors, nearest


class Exit(IntEnum):
    """The exit codes. They are stable: scripts depend on them. A higher one is worse."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    DEPENDENCY = 4
    GUARANTEE = 5


class Mistake(HeadwaterError):
    """The command was given something that it cannot use."""

    code = "usage"


class Failure(HeadwaterError):
    """The command could not do what it was told, and nothing is wrong with how it was called."""

    code = "failed"


class NoConfiguration(Misconfigured):
    """There is no configuration file, so there is nothing to expect in it."""

    def __init__(self, file: Path) -> None:
        hint = "`headwater init` writes one, --config names another"
        super().__init__("", "a configuration file", "no such file", str(file), hint=hint, code="no-configuration")

    def __str__(self) -> str:
        return f"{self.file}: there is no such file. {self.hint}"


#: What the codes mean, for the reference.
MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "it failed: a line was rejected, a stream is paused",
    Exit.USAGE: "wrong usage: an unknown option, stream or file",
    Exit.CONFIGURATION: "the configuration has an error",
    Exit.DEPENDENCY: "a dependency cannot be reached, or another has it",
    Exit.GUARANTEE: "a guarantee is violated, or a stream halted before one was",
}

_CODES: dict[type[HeadwaterError], Exit] = {
    Mistake: Exit.USAGE,
    ConfigurationErrors: Exit.CONFIGURATION,
    Misconfigured: Exit.CONFIGURATION,
    Retry: Exit.DEPENDENCY,
    Unreachable: Exit.DEPENDENCY,
    Halt: Exit.GUARANTEE,
}


def exit_code(error: HeadwaterError) -> Exit:
    """Return the exit code of an error."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), Exit.FAILED)


def explain(error: HeadwaterError) -> list[str]:
    """Return the lines to show. Those of the configuration begin with their place, so that editors find it."""
    if isinstance(error, ConfigurationErrors):
        return [coded(str(each), each.code) for each in error.errors]
    if isinstance(error, Misconfigured):
        return [coded(str(error), error.code)]
    return coded(f"headwater: {error}{_way_on(error)}", error.code).splitlines()


def coded(message: str, code: str) -> str:
    """Put the code behind a message, unless it says it already: `headwater explain` prints its page."""
    return message if f"{code}: " in message else f"{message} [{code}]"


def codes(error: HeadwaterError) -> list[str]:
    """Return the codes of an error, each once."""
    found = [each.code for each in error.errors] if isinstance(error, ConfigurationErrors) else [error.code]
    return list(dict.fromkeys(found))


def _way_on(error: HeadwaterError) -> str:
    """Return the next step for what is away."""
    if not isinstance(error, Retry):
        return ""
    if error.dependency != "kafka":
        return ". Nothing was lost: try again"
    from headwater.log.health import advice

    return f". {advice(error.cause)}. Nothing was lost"


def unknown_stream(name: str, streams: Iterable[str]) -> Mistake:
    """Say that a stream is not in the configuration, and which was probably meant."""
    names = list(streams)
    meant = nearest(name, names)
    return Mistake(f"there is no stream {name!r}: " + (meant or f"the configuration has {', '.join(names)}"))
