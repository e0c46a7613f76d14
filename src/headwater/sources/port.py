"""The port of sources: whatever changes are read from."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Pass(NamedTuple):
    """What one pass over a source appended, and what it could not read: (name, reason)."""

    upserts: int
    deletes: int
    skipped: tuple[tuple[str, str], ...] = ()


class Source(Protocol):
    """Reads changes from where its stored position stands, and appends them to the log with the moved position."""

    async def synchronise(self) -> Pass:
        """Bring the log up to what the source holds now. Restartable: changes and position move together.

        Raise Retry when the source or the log is away, Halt("snapshot-race") when another instance moved the position.
        """
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...
