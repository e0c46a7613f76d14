"""`headwater trace`: every receipt of a document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from headwater.cli.options import Config, Json, Stream, config_of, opened, perform
from headwater.cli.output import rough, say, tell, write_json
from headwater.journal import GENERATION
from headwater.log.codecs.json import render_time
from headwater.model.receipt import Receipt

_HOPS = ("changed", "appended", "read", "embedded", "applied", "settled")


def trace(
    context: typer.Context,
    stream: Stream,
    document: Annotated[str, typer.Argument(metavar="ID", help="The document's id.")],
    json: Json = False,
    config: Config = None,
) -> None:
    """Show what became of each change of a document.

    --json writes {"stream", "generation", "id", "receipts"}: every receipt in order, with the time at each hop, and for
    an overtaken change by which.
    """
    perform(_trace(config_of(context, config), stream, document, json))


async def _trace(config: Path, stream: str, document: str, json: bool) -> None:
    async with opened(config, stream) as site:
        receipts = await site.ledger(stream).receipts(document)
    if json:
        shapes = list(map(_shape, receipts))
        write_json({"stream": stream, "generation": GENERATION, "id": document, "receipts": shapes})
    for receipt in receipts if not json else ():
        _show(receipt)
    if not receipts:
        tell(f"no change of {document!r} is settled in {stream}; `headwater status {stream}` says what still waits")


def _shape(receipt: Receipt) -> dict[str, Any]:
    return {
        "version": str(receipt.version),
        "place": {"partition": receipt.place.partition, "offset": receipt.place.offset},
        "recipe": receipt.recipe,
        "revision": receipt.revision,
        "outcome": receipt.outcome.value,
        "cause": receipt.cause.value,
        "reason": receipt.reason or None,
        "overtaken_by": str(receipt.overtaken_by) if receipt.overtaken_by else None,
        "body_digest": receipt.body_digest.hex() or None,
        "trace": receipt.trace or None,
        "counts": msgspec.to_builtins(receipt.counts),
        "times": {hop: render_time(at_us) if at_us else None for hop, at_us in _times(receipt)},
    }


def _times(receipt: Receipt) -> list[tuple[str, int]]:
    return [(hop, getattr(receipt, f"{hop}_us")) for hop in _HOPS]


def _show(receipt: Receipt) -> None:
    tail = f" by {receipt.overtaken_by}" if receipt.overtaken_by else ""
    say(f"{receipt.version}  {receipt.outcome.value}{tail}" + (f": {receipt.reason}" if receipt.reason else ""))
    counts = msgspec.to_builtins(receipt.counts)
    if receipt.counts.chunks or receipt.counts.removed:
        say("  " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    before = 0
    for hop, at_us in _times(receipt):
        if at_us:
            later = f"  ({_later(at_us - before)})" if before else ""
            say(f"  {hop:<9}{render_time(at_us)}{later}")
            before = at_us


def _later(gap_us: int) -> str:
    """Say how much later a hop was. Hops are timed by different clocks: one may seem to be before the last."""
    return f"+{rough(gap_us / 1e6)}" if gap_us >= 0 else f"clock ahead by {rough(-gap_us / 1e6)}"
