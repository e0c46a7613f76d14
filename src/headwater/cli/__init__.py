"""The command line: one file a verb. `main` is the `headwater` command."""

from __future__ import annotations

import sys

from headwater.cli.application import app
from headwater.cli.failures import exit_code, explain
from headwater.cli.output import tell
from headwater.errors import HeadwaterError


def main() -> None:
    """Run the command line. The one place where an error becomes a message and an exit code."""
    try:
        app(prog_name="headwater")
    except HeadwaterError as error:
        for line in explain(error):
            tell(line)
        sys.exit(exit_code(error))
