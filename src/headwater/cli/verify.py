"""`headwater verify`: derives again what the index must hold, and compares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.failures import Exit
from headwater.cli.options import Config, Json, Stream, config_of, opened, perform
from headwater.cli.output import say, tell, write_json
from headwater.observability.findings import counted

if TYPE_CHECKING:
    from headwater.engine.verification import Verification


def verify(
    context: typer.Context,
    stream: Stream,
    json: Json = False,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is wrong; only while no worker runs.")] = False,
    config: Config = None,
) -> None:
    """Compare the index with the log.

    Exit 5 when the index does not hold exactly what the log says. --json writes {"documents", "missing", "stale",
    "orphans", "duplicates", "resurrected", "unverifiable", "ok"}.
    """
    perform(_verify(config_of(context, config), stream, repair, json))


async def _verify(config: Path, stream: str, repair: bool, json: bool) -> int:
    from headwater.engine.repair import repair as mend
    from headwater.engine.verification import verify as compare

    async with opened(config, stream) as site:
        await site.embedder(stream).open()  # the recipe's fingerprint holds what its model says of itself
        subject = site.subject(stream)
        if repair:
            await subject.reader.generation()  # says what is missing before the lock's file is made
            with site.journal.lock():
                repaired = await mend(subject, site.tools(stream))
            tell(f"{counted(repaired.mended, 'document')} mended")
            if repaired.removed:
                tell(f"{counted(repaired.removed, 'row')} that no document names removed")
            found = repaired.after
        else:
            found = await compare(subject)
    if json:
        write_json(found.shape())
    else:
        _show(stream, found)
    if not found.ok:
        cure = (
            "what is left cannot be mended from the log" if repair else f"mend it: `headwater verify {stream} --repair`"
        )
        tell(f"{stream} does not hold what its log says; {cure}" if json else cure)
    return Exit.OK if found.ok else Exit.GUARANTEE


def _show(stream: str, found: Verification) -> None:
    say(f"{stream} {'holds' if found.ok else 'does not hold'} what its log says")
    for name, value in found.shape().items():
        if name != "ok":
            say(f"  {name:<13}{value}")
    for finding in found.findings:
        tell(": ".join(part for part in (finding.kind, finding.id, finding.reason) if part))
