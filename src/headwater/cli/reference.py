"""The reference of the command line in Markdown, generated from the application itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer.main

from headwater.cli.application import app
from headwater.cli.failures import MEANINGS

_HEAD = """\
# Command line reference

<!-- Generated from the application. -->

Data goes to stdout, messages to stderr. `--config` stands before or behind the verb. `--json` writes one JSON document,
`--jsonl` a line a record.
"""


def reference() -> str:
    """Return the reference of every verb: its usage, arguments, options and exit codes."""
    root = typer.main.get_command(app)
    blocks = [_HEAD, _codes(), *_options(root), *(block for name, verb in _verbs(root) for block in _verb(name, verb))]
    return "\n".join(blocks)


def verbs() -> list[str]:
    """Return the names of all verbs, as they are typed."""
    return [name for name, _ in _verbs(typer.main.get_command(app))]


def _codes() -> str:
    rows = [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    rows.append("| 130, 143 | ended by SIGINT, by SIGTERM |")
    return "\n".join(["## Exit codes", "", "| code | meaning |", "| --- | --- |", *rows, ""])


# typer's classes for commands and parameters are its own affair, so they are `Any` here.


def _verbs(command: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in command.commands.items():
        if inner.hidden:
            continue
        if hasattr(inner, "commands"):
            yield from _verbs(inner, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", inner


def _verb(name: str, command: Any) -> Iterator[str]:
    yield f"## headwater {name}\n"
    arguments = [_argument(each) for each in command.params if each.param_type_name == "argument"]
    yield f"```text\n{' '.join(['headwater', name, '[OPTIONS]', *arguments])}\n```\n"
    yield f"{_prose(command.help)}\n"
    yield from _options(command)


def _prose(text: str | None) -> str:
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in (text or "").split("\n\n"))


def _argument(argument: Any) -> str:
    text = argument.metavar or str(argument.name).upper()
    text = f"{text}..." if argument.nargs == -1 else text
    return text if argument.required else f"[{text}]"


def _options(command: Any) -> Iterator[str]:
    """Yield the table of a command's arguments and options, if it has any."""
    rows = [_row(each) for each in command.params if not each.hidden]
    if rows:
        yield "\n".join(["| option | default | meaning |", "| --- | --- | --- |", *rows, ""])


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{_argument(parameter)}`"
    else:
        name = ", ".join(f"`{option}`" for option in parameter.opts) + _value(parameter)
    meaning = (parameter.help or "").replace("|", "\\|")
    if parameter.envvar:
        meaning += f" Also `{parameter.envvar}`."
    if parameter.multiple:
        meaning += " May be repeated."
    return f"| {name} | {_default(parameter)} | {meaning} |"


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    if isinstance(option.default, Enum):
        choices = "\\|".join(str(choice.value) for choice in type(option.default))
        return f" `{choices}`"
    return f" `{option.metavar or str(option.name).upper()}`"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    if default is None or default is False or parameter.name.endswith("_completion"):
        return ""
    return f"`{default.value if isinstance(default, Enum) else default}`"


if __name__ == "__main__":
    print(reference(), end="")
