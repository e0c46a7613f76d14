"""A reader in memory: it answers when it is told to, or at once, by what the bytes begin with."""

from __future__ import annotations

from headwater.documents.port import Answer, Extracted, Load
from headwater.errors import Reject, Retry


class MemoryReader:
    """A Reader. `PDF:` is read, `BAD:` is rejected with the rest as its reason, and for `AWAY` the machine is to blame.

    `held`: nothing is answered until it is released. `eager`: a question begins at once, and so is never replaced.
    """

    def __init__(self, *, eager: bool = False) -> None:
        self.held = False
        self.eager = eager
        self.closed = False
        #: What was loaded, in order.
        self.read: list[str] = []
        self._waiting: dict[str, tuple[object, Load]] = {}
        self._done: list[Answer] = []

    def ask(self, name: str, ticket: object, load: Load) -> None:
        if self.eager:
            self._answer(name, ticket, load)
        else:
            self._waiting.pop(name, None)
            self._waiting[name] = ticket, load

    def answers(self, wait_s: float) -> list[Answer]:
        if self.held:
            return []
        for name in list(self._waiting):
            self._answer(name, *self._waiting.pop(name))
        found, self._done = self._done, []
        return found

    def outstanding(self) -> int:
        return 0 if self.held else len(self._waiting) + len(self._done)

    def close(self) -> None:
        self.closed = True
        self._waiting.clear()

    def _answer(self, name: str, ticket: object, load: Load) -> None:
        self.read.append(name)
        self._done.append(Answer(name, ticket, outcome(load())))


def outcome(data: bytes | None) -> Extracted | Reject | Retry | None:
    """What becomes of such bytes, which are no text: see `Document`."""
    if data is None:
        return None
    kind, _, rest = data.removeprefix(b"\0").decode().partition(":")
    if kind == "PDF":
        return Extracted(rest, "markdown", "application/pdf", title=f"About {rest}")
    return Retry("reader", "no memory") if kind == "AWAY" else Reject(rest)


def document(kind: str, rest: str = "") -> bytes:
    """Bytes that no text file has, for this reader."""
    return f"\0{kind}:{rest}".encode()
