"""What a recipe can be told: how to chunk, what travels as payload, which format the text has.

The configuration file maps onto this.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Format = Literal["markdown", "text"]

#: What can be taken out of texts.
Redactable = Literal["card", "email", "iban", "ip", "key", "phone"]
REDACTABLE: tuple[Redactable, ...] = get_args(Redactable)


class Chunking(msgspec.Struct, frozen=True, gc=False):
    """Sizes of chunks, in characters of the document's text.

    `size` is the target: about the mean, and paragraphs up to it stay whole. `minimum` and `maximum` default to a
    quarter and to one and a half of it. `overlap` is how much of the text before a chunk goes with it at most; the
    other sizes do not count it.
    """

    size: int = 800
    minimum: int | None = None
    maximum: int | None = None
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.size < 16:
            raise ValueError(f"the chunk size is {self.size}, at least 16 characters are needed")
        if not 0 < self.least <= self.size <= self.most:
            raise ValueError(f"chunk sizes must ascend: minimum {self.least}, size {self.size}, maximum {self.most}")
        if self.most < 2 * self.least:
            raise ValueError(f"the chunk maximum {self.most} is less than twice the minimum {self.least}")
        if not 0 <= self.overlap <= self.size // 2:
            raise ValueError(
                f"the chunk overlap is {self.overlap}, from 0 up to half of the size {self.size} is allowed"
            )

    @property
    def least(self) -> int:
        """The minimum in effect. Only a whole document, or what stands between no better cuts, is smaller."""
        return max(1, self.size // 4) if self.minimum is None else self.minimum

    @property
    def most(self) -> int:
        """The maximum in effect. Never exceeded."""
        return self.size * 3 // 2 if self.maximum is None else self.maximum

    @property
    def unit(self) -> int:
        """Longer paragraphs are taken apart.

        With units up to here, a span over the maximum has a cut that leaves at least the minimum on both sides.
        """
        return min(self.size, max(self.most - 2 * self.least, self.most // 4))


class PayloadField(msgspec.Struct, frozen=True, gc=False):
    """Where a payload field comes from: a dotted path in the body. A required one rejects the change that lacks it."""

    path: str
    required: bool = False
