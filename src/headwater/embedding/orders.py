"""Orders: texts that somebody waits for together, and what becomes of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from headwater.embedding.lanes import Lane, Text
from headwater.model.receipt import Usage
from headwater.patience import Wait


class Refused(msgspec.Struct, frozen=True):
    """The model cannot embed this text, and could embed another one at the same time."""

    reason: str
    too_long: bool = False


class Suspects(msgspec.Struct, frozen=True):
    """Texts that were refused together, and the one that the service named, if it did."""

    texts: Sequence[Text]
    named: Text | None


class Order:
    """Texts that somebody waits for. `answers`, `tokens` and `paid` are in the order of `texts`.

    `paid` is whether a text was asked for on its account; `done` is when all answers are in.
    """

    def __init__(self, texts: Sequence[str], stream: str, lane: Lane, wait: Wait) -> None:
        self.texts = texts
        self.stream = stream
        self.lane = lane
        self.wait = wait
        self.answers: list[bytes | Refused] = [b""] * len(texts)
        self.tokens = [0] * len(texts)
        self.paid = [False] * len(texts)
        self.usage = Usage()
        self.left = len(texts)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"Order({len(self.texts)} texts of {self.stream!r}, {self.left} left)"

    def answer(self, place: int, answer: bytes | Refused) -> None:
        """Put one answer in."""
        self.answers[place] = answer
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Tell whoever waits that it will never be whole."""
        if not self.done.done():
            self.done.set_exception(error)


class Entry:
    """A text under way, and where its answer goes; the first to wait pays."""

    __slots__ = ("key", "lane", "probed", "refused", "refused_s", "text", "too_long", "waiters")

    def __init__(self, key: int, text: str, lane: Lane, waiter: tuple[Order, int]) -> None:
        self.key = key
        self.text = text
        self.lane = lane
        self.waiters = [waiter]
        self.probed = False  # it was refused alone, and the probe passed after that
        self.refused: Refused | None = None  # what was said of it, alone, after that
        self.refused_s = 0.0
        self.too_long = False  # so it was said, the last time
