"""`headwater demo`: a real package's documentation changes through its releases, and Headwater follows."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer

from headwater.cli.failures import Exit, Mistake
from headwater.cli.options import Json
from headwater.cli.output import say, tell, write_json

if TYPE_CHECKING:
    from types import FrameType

    from headwater.demo.figures import Figures


def demo(
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Work here, in an empty folder; else a new one.")
    ] = None,
    archives: Annotated[
        Path | None, typer.Option("--archives", metavar="DIR", help="Where the source archives are, or shall go.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the folder as it is at the end.")] = False,
    json: Json = False,
) -> None:
    """Show what Headwater does, on the documentation of a real package as it changed from release to release.

    The source archives are fetched once, with pip. Everything happens in a folder of its own, which goes at the end.
    Exit 1 when what was measured breaks a promise.
    """
    from headwater.demo.figures import broken
    from headwater.demo.page import page

    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Mistake(f"{folder} is not an empty folder: name another one, or leave --folder out")
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        figures = _measure(folder, archives, keep=keep)
    except KeyboardInterrupt:
        warnings.simplefilter("ignore")  # of work that the interrupt kept from beginning
        tell("")
        tell("headwater: the demo was stopped, and its worker with it")
        raise typer.Exit(130) from None
    failures = broken(figures)
    if json:
        write_json({**msgspec.to_builtins(figures), "receipts": figures.receipts, "broken": failures})
    else:
        say()
        for line in page(figures).splitlines():
            say(line)
    if failures:
        raise typer.Exit(Exit.FAILED)


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    # Raised here, not passed on as SIGINT: what a shell starts in the background ignores that one.
    raise KeyboardInterrupt


def _measure(folder: Path | None, archives: Path | None, *, keep: bool) -> Figures:
    from headwater.demo.archives import provide
    from headwater.demo.corpus import documents
    from headwater.demo.pins import release
    from headwater.demo.stage import ConsoleStage
    from headwater.demo.story import RELEASES, Story
    from headwater.demo.workspace import IN_A_CHECKOUT, cache, workspace

    folders = [archives] if archives else [IN_A_CHECKOUT, cache()]
    found = provide(folders, [release(version) for version in RELEASES], tell)
    releases = {one.version: documents(path) for one, path in found.items()}
    with workspace(folder, keep=keep) as place:
        with ConsoleStage() as stage:
            figures = Story(place, releases, stage).tell()
        if keep:
            tell("")
            tell(f"everything is left in {place}")
    return figures
