"""The port of sources: whatever changes are read from."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Pass(NamedTuple):
    """What one pass over a source appended, and what it could not read: (name, reason).

    `again_s`: something was in motion and was left; so many seconds later it may be still. None if nothing was.
    `reading`: so many documents are being read beside the passes. Each ends, and then `changed` returns.
    """

    upserts: int
    deletes: int
    skipped: tuple[tuple[str, str], ...] = ()
    again_s: float | None = None
    reading: int = 0


class Source(Protocol):
    """Reads changes from where its stored position stands, and appends them to the log with the moved position."""

    async def synchronise(self) -> Pass:
        """Bring the log up to what the source holds now. Restartable: changes and position move together.

        Raise Retry when the source or the log is away, Halt("snapshot-race") when another instance moved the position.
        """
        ...

    async def changed(self) -> None:
        """Return when something may have changed since this last returned; never, where the source cannot tell.

        A hint, by which the next pass comes earlier: it may return for nothing, and may miss a change. What changed
        while nobody waited counts. Never raises.
        """
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...
