"""The port of readers: whatever makes text out of the bytes of a document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from headwater.errors import Reject, Retry

#: Returns a document's bytes. None when it moved meanwhile; raises Reject when it cannot be read.
Load = Callable[[], bytes | None]


class Extracted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was taken out of a document.

    `format` is how `text` is to be chunked, `type` the media type of the document. Times are RFC 3339 in UTC. What the
    document does not say is None, and so is everything but text, format and type of a text file.
    """

    text: str
    format: Literal["markdown", "text"]
    type: str
    title: str | None = None
    author: str | None = None
    created: str | None = None
    modified: str | None = None
    language: str | None = None
    pages: int | None = None

    def body(self, path: str) -> dict[str, Any]:
        """Return what goes into the log as the document's body: what is known of all this, and its path."""
        return {**msgspec.to_builtins(self), "path": path}

    def __repr__(self) -> str:
        return f"Extracted({self.type}, {len(self.text)} characters)"


class Answer(NamedTuple):
    """What became of a question. `outcome` is None when there was nothing to load any more."""

    name: str
    ticket: Any
    outcome: Extracted | Reject | Retry | None

    def __repr__(self) -> str:
        return f"Answer({self.name!r}, {self.outcome!r})"


class Reader(Protocol):
    """Reads documents, some at a time. Questions are small; bytes are loaded when their turn comes.

    Every question that is neither replaced nor dropped by `close` is answered exactly once, in any order between names
    and in the order of the questions of one name. A document that takes long delays no other.
    """

    def ask(self, name: str, ticket: object, load: Load) -> None:
        """Queue a question; never block. One of the same name that has not begun is replaced, and gets no answer."""
        ...

    def answers(self, wait_s: float) -> list[Answer]:
        """Return what is answered, waiting up to `wait_s` for the first. Blocks: call it on a thread.

        The outcome is Reject, with a reason that quotes nothing of the document, when that is at fault, and Retry when
        the machine is. Whoever does not fetch answers stops the reading: few are held.
        """
        ...

    def outstanding(self) -> int:
        """Return how many questions have no answer that was fetched."""
        ...

    def close(self) -> None:
        """Drop all questions and end all processes. Idempotent."""
        ...
