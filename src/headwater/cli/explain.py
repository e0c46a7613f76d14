"""`headwater explain`: the page of an error's code."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.cli.failures import Mistake
from headwater.cli.output import say
from headwater.settings.failures import nearest


def _codes() -> list[str]:
    from headwater.cli.error_pages import pages

    return list(pages())


def explain(
    code: Annotated[
        str | None,
        typer.Argument(
            metavar="CODE",
            help="What an error ends with in brackets; if left out, all are listed.",
            autocompletion=_codes,
        ),
    ] = None,
) -> None:
    """Say what an error means, why it is one, and what to do."""
    from headwater.cli.error_pages import lines, pages

    known = pages()
    if code is None:
        width = max(map(len, known))
        for name, page in known.items():
            say(f"{name:<{width}}  {page.title}")
        return
    wanted = code.strip("[]")
    if wanted not in known:
        meant = nearest(wanted, known) or "`headwater explain` lists those that there are"
        raise Mistake(f"there is no error code {code!r}: {meant}")
    for line in lines(wanted):
        say(line)
