"""The command line: one file a verb. `main` is the `headwater` command."""

from __future__ import annotations

import sys

from headwater.cli.application import app
from headwater.cli.failures import Mistake, exit_code, explain
from headwater.cli.output import tell
from headwater.errors import HeadwaterError


def _check(arguments: list[str]) -> None:
    """Refuse what is no text: it can name no stream, document or word."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise Mistake(f"the argument {argument!a} is not UTF-8") from None


def main() -> None:
    """Run the command line. The one place where an error becomes a message and an exit code."""
    try:
        _check(sys.argv[1:])
        app(prog_name="headwater")
    except HeadwaterError as error:
        for line in explain(error):
            tell(line)
        sys.exit(exit_code(error))
