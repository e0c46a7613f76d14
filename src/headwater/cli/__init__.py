"""The command line: one file a verb. `main` is the `headwater` command."""

from __future__ import annotations

import sys

import typer

from headwater.cli.application import app
from headwater.cli.failures import Exit, Mistake, codes, exit_code, explain
from headwater.cli.output import tell
from headwater.errors import HeadwaterError


def _check(arguments: list[str]) -> None:
    """Refuse what is no text: it can name no stream, document or word."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise Mistake(f"the argument {argument!a} is not UTF-8") from None


#: What typer's parser raises of arguments that do not fit; typer names only this kind of it.
_Unfit: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Run the command line. The one place where an error becomes a message and an exit code."""
    try:
        _check(sys.argv[1:])
        sys.exit(app(prog_name="headwater", standalone_mode=False))
    except HeadwaterError as error:
        for line in explain(error):
            tell(line)
        if sys.stderr.isatty():  # a script has the codes
            _point(codes(error))
        sys.exit(exit_code(error))
    except _Unfit as error:
        error.show()  # type: ignore[attr-defined]  # its class is typer's own affair
        if len(sys.argv) > 1:  # alone it showed the help
            _point(["usage"])
        sys.exit(Exit.USAGE)
    except typer.Abort:
        tell("headwater: given up")
        sys.exit(Exit.FAILED)


def _point(codes: list[str]) -> None:
    """Name the pages of what went wrong."""
    tell("see: " + ", ".join(f"`headwater explain {code}`" for code in codes))
