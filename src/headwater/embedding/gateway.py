"""The gateway: the only way from the engine to a model. One a stream and lane; what they share is the courier."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from headwater.embedding.courier import Courier
from headwater.embedding.lanes import Lane
from headwater.embedding.orders import Refused
from headwater.embedding.port import Description
from headwater.embedding.splitting import halves, mean
from headwater.errors import Halt
from headwater.model.receipt import Usage
from headwater.patience import Patience


class WhenTooLong(StrEnum):
    """What becomes of a text that the model cannot take whole. It is never cut silently."""

    DEAD = "dead"
    SPLIT = "split"
    REFUSE = "refuse"


class Embeddings(msgspec.Struct, frozen=True):
    """Answers in the order of the texts, each a vector (little-endian float32, length 1) or Refused; whether each was
    paid for here, or is owed to another who asked for the same at the same time; the tokens that it cost; and what all
    cost together.
    """

    answers: Sequence[bytes | Refused]
    paid: Sequence[bool]
    tokens: Sequence[int]
    usage: Usage


class Gateway:
    """Embeds a stream's texts, any number at once."""

    def __init__(
        self,
        courier: Courier,
        stream: str,
        patience: Patience,
        *,
        lane: Lane = Lane.LIVE,
        when_too_long: WhenTooLong = WhenTooLong.DEAD,
    ) -> None:
        self._courier = courier
        self._stream = stream
        self._patience = patience
        self._lane = lane
        self._when_too_long = when_too_long

    def __repr__(self) -> str:
        return f"Gateway({self._stream!r}, {self._lane.value})"

    @property
    def model(self) -> Description:
        """What the model is."""
        return self._courier.model

    async def ensure(self) -> None:
        """Raise Halt where vectors of this model must not be written, wherever they come from. Here: never."""

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embed all, and say what that cost. Waits out outages.

        Raise Denied when the service refuses the account, Halt when vectors are not as promised.
        """
        order = await self._courier.carry(texts, self._stream, self._lane, self._patience)
        answers, bought, tokens, usage = list(order.answers), list(order.paid), list(order.tokens), order.usage
        for place, answer in enumerate(order.answers):
            if isinstance(answer, Refused) and answer.too_long and self._when_too_long is not WhenTooLong.DEAD:
                if self._when_too_long is WhenTooLong.REFUSE:
                    raise Halt(
                        "text-too-long",
                        f"{self.model.name} cannot take a chunk whole: {answer.reason}",
                        "Lower `chunk.maximum`, or have it split: `embed: {too_long: split}`",
                    )
                answers[place], paid = await self._in_parts(texts[place], answer)
                tokens[place], bought[place] = tokens[place] + paid.tokens, True
                usage += paid
        return Embeddings(answers, bought, tokens, usage)

    async def _in_parts(self, text: str, refused: Refused) -> tuple[bytes | Refused, Usage]:
        """Embed a text in parts, halved until the model takes each."""
        usage = Usage()
        parts: list[tuple[str, bytes]] = []
        left = [text]
        while left:
            if min(map(len, left)) < 2:
                return refused, usage
            left = [half for part in left for half in halves(part)]
            order = await self._courier.carry(left, self._stream, self._lane, self._patience)
            usage += order.usage
            answers = list(zip(left, order.answers, strict=True))
            left = []
            for part, answer in answers:
                if isinstance(answer, bytes):
                    parts.append((part, answer))
                elif answer.too_long:
                    left.append(part)
                else:
                    return answer, usage
        return mean(parts) or refused, usage
