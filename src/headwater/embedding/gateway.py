"""The gateway: the only way from the engine to a model. One a stream and lane; what they share is the courier."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headwater.embedding.courier import Courier, Refused
from headwater.embedding.lanes import Lane
from headwater.embedding.port import Description
from headwater.model.receipt import Usage
from headwater.patience import Patience


class Embeddings(msgspec.Struct, frozen=True):
    """Answers in the order of the texts, each a vector (little-endian float32, length 1) or Refused; the tokens that
    each text cost, 0 where another paid for it; and what all cost together.
    """

    answers: Sequence[bytes | Refused]
    tokens: Sequence[int]
    usage: Usage


class Gateway:
    """Embeds a stream's texts, any number at once."""

    def __init__(self, courier: Courier, stream: str, patience: Patience, lane: Lane = Lane.LIVE) -> None:
        self._courier = courier
        self._stream = stream
        self._patience = patience
        self._lane = lane

    def __repr__(self) -> str:
        return f"Gateway({self._stream!r}, {self._lane.value})"

    @property
    def model(self) -> Description:
        """What the model is."""
        return self._courier.model

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embed all, and say what that cost. Waits out outages.

        Raise Denied when the service refuses the account, Halt when vectors are not as promised.
        """
        order = await self._courier.carry(texts, self._stream, self._lane, self._patience)
        return Embeddings(order.answers, order.tokens, order.usage)
