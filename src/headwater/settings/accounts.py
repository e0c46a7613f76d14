"""What an account at an embedding service may use and spend, and where paid vectors are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from headwater.settings.failures import Unfit
from headwater.settings.schema_words import together
from headwater.settings.values import (
    DiskSize,
    Duration,
    Location,
    Number,
    Place,
    Section,
    Whole,
    Written,
    agree,
)


class BudgetSettings(Section):
    """What may be spent."""

    soft: Number | None = Field(default=None, gt=0, description="Above this many US dollars it is said, once.")
    hard: Number | None = Field(
        default=None,
        gt=0,
        description="At this many US dollars nothing more is embedded until the next `per`; removals go on.",
    )
    per: Literal["day", "month"] = Field(default="month", description="The time that the budget is for, in UTC.")

    @model_validator(mode="after")
    def _agree(self) -> BudgetSettings:
        agree(self._errors())
        return self

    def _errors(self) -> Iterator[tuple[Location, Unfit]]:
        if self.soft is not None and self.hard is not None and self.soft > self.hard:
            yield ("soft",), Unfit("no more than `hard`")


class AccountSettings(Section):
    """An account at an embedding service: all streams that name it share its limits and its budget."""

    model_config = ConfigDict(json_schema_extra=together(budget=["price"], batch_price=["price"]))

    requests: Whole | None = Field(
        default=None, ge=1, description="Requests in each `per`; if left out, what the service says of itself."
    )
    tokens: Whole | None = Field(
        default=None, ge=1, description="Tokens in each `per`; if left out, what the service says of itself."
    )
    per_s: Duration = Field(default=60.0, alias="per", description="The window of the limits.")
    reserve: Number = Field(
        default=0.0,
        ge=0,
        le=0.9,
        description="The part of capacity and limits that replays leave free for live changes.",
    )
    minimum: Number = Field(
        default=0.05, ge=0, le=0.9, description="The part of the tokens that replays get, however much is live."
    )
    price: Number | None = Field(default=None, ge=0, description="US dollars for a million tokens.")
    batch_price: Number | None = Field(
        default=None,
        ge=0,
        description="US dollars for a million tokens through the batch interface; half of `price` if left out.",
    )
    budget: BudgetSettings | None = Field(default=None, description="What may be spent; needs `price`.")

    @property
    def prices(self) -> tuple[float, float] | None:
        """US dollars for a million tokens: as usual, and through the batch interface. None where nothing is known."""
        if self.price is None:
            return None
        return self.price, self.price / 2 if self.batch_price is None else self.batch_price

    @model_validator(mode="after")
    def _agree(self) -> AccountSettings:
        agree(self._errors())
        return self

    def _errors(self) -> Iterator[tuple[Location, Unfit]]:
        if self.budget is not None and self.price is None:
            yield ("budget",), Unfit("`price` beside it", "without a price nothing can be added up")
        if self.batch_price is not None and self.price is None:
            yield ("batch_price",), Unfit("`price` beside it", "it is what the batch interface takes instead")
        if self.reserve + self.minimum > 1:
            yield ("reserve",), Unfit("`reserve` and `minimum` that are 1 or less together")


class CacheSettings(Section):
    """Where vectors are kept that were paid for, beyond the index."""

    url: Place = Field(description="A file of its own, as `sqlite:///PATH`.")
    size_bytes: DiskSize = Field(default=1 << 30, alias="size", description="The most that it keeps.")
    tenant: Annotated[str, Field(max_length=256), Written(default="none")] = Field(
        default="", description="Whose vectors: those of two tenants in one file never meet."
    )
