"""Giving a dead letter up: its state first, then the index's mark, then the receipt.

The state comes first because a repeat after a crash looks at it (schedule C14). The mark moves the document's revision,
so that a zombie which planned to hide the document is not believed any more (schedule C13).
"""

from __future__ import annotations

from headwater.clock import Clock
from headwater.indexes.port import IndexWriter
from headwater.log.port import Ledger, LogReader
from headwater.model.manifest import Mark, Outcome, Verdict
from headwater.model.receipt import DeadLetter, DeadState, Receipt, Settlement


async def discard(letter: DeadLetter, ledger: Ledger, writer: IndexWriter, reader: LogReader, clock: Clock) -> bool:
    """Discard an open dead letter; tell whether there was something to do. `reader` only settles.

    A letter that was discarded by a process which died before its receipt is gone on with.
    """
    moved = await ledger.move(letter.document, letter.version, DeadState.OPEN, DeadState.DISCARDED)
    if not moved and not await _unfinished(letter, ledger):
        return False
    recipe = (await writer.generation()).recipe
    receipt = Receipt(
        document=letter.document,
        version=letter.version,
        place=letter.place,
        recipe=recipe,
        revision=await _release(letter.document, recipe, writer, clock),
        outcome=Outcome.DISCARDED,
        reason=letter.reason,
        settled_us=clock.now_us(),
    )
    await reader.settle(Settlement({}, (receipt,)))
    return True


async def _unfinished(letter: DeadLetter, ledger: Ledger) -> bool:
    found = await ledger.dead(frozenset({DeadState.DISCARDED}))
    discarded = any(it.document == letter.document and it.version == letter.version for it in found)
    receipts = await ledger.receipts(letter.document)
    return discarded and not any(it.version == letter.version and it.outcome is Outcome.DISCARDED for it in receipts)


async def _release(document: str, recipe: int, writer: IndexWriter, clock: Clock) -> int:
    """Move the document's revision and lift its cap, whoever else writes meanwhile; return the new revision."""
    while True:
        stored = (await writer.manifests([document])).get(document)
        base = stored.revision if stored else None
        mark = Mark(id=document, recipe=recipe, base=base, cap=None, time_us=clock.now_us())
        answer = (await writer.apply([mark]))[0]
        if answer.verdict is not Verdict.CONFLICT:
            return answer.revision
