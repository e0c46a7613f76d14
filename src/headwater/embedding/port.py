"""The port of embedding models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt


class Purpose(StrEnum):
    """What a text is embedded for: many models treat what is searched and what searches differently."""

    DOCUMENT = "document"
    QUERY = "query"


class Description(msgspec.Struct, frozen=True):
    """What a model is, and what one call may carry.

    `fingerprint` changes whenever the vectors would: provider, model, revision, dimensions, prefix, normalisation.
    `max_text_tokens` and `max_call_tokens` are what the service takes of a text and of a call, counted by its own
    tokenizer; None: it has no such limit, or does not say. `witnessed`: somebody else may swap what answers, so probes
    have to show that it is still the same model; not where the fingerprint covers the weights. `host`: where it is
    asked; empty for a model that runs here.
    """

    name: str
    fingerprint: str
    dimensions: int
    max_texts: int
    max_characters: int
    max_text_tokens: int | None = None
    max_call_tokens: int | None = None
    witnessed: bool = True
    host: str = ""


class Allowance(msgspec.Struct, frozen=True):
    """What a service says of one of its limits: how much is left of how much, and in how many seconds it is whole
    again. None: it does not say.
    """

    limit: int | None = None
    left: int | None = None
    reset_s: float | None = None


class Embedded(msgspec.Struct, frozen=True):
    """An answer: `vectors` has shape (n, dimensions) and is float32; row i belongs to the text at `index[i]`.

    `tokens` is what the service counted. `requests_left` and `tokens_left` are what it says of the account's limits.
    """

    vectors: npt.NDArray[np.float32]
    index: tuple[int, ...]
    tokens: int
    requests_left: Allowance = Allowance()
    tokens_left: Allowance = Allowance()


#: A text that every model can embed.
PROBE = "Headwater keeps embeddings true to their source."

#: How many tokens of the model a text has, with those that the model puts around it.
Count = Callable[[str], int]

#: How an adapter computes off the loop. Whoever makes several may let them take turns on one thread.
Compute = Callable[[Callable[[], Embedded]], Awaitable[Embedded]]


async def on_a_thread(work: Callable[[], Embedded]) -> Embedded:
    """Compute on any thread."""
    return await asyncio.to_thread(work)


class Embedder(Protocol):
    """A model that turns texts into vectors.

    Calls are idempotent and may run at the same time. An adapter does its waiting and its computing off the loop. One
    whose tokenizer is known here has a `count: Count` beside these methods; its first call may read files. One whose
    service has a batch interface has a `batches() -> Batches | None` beside them, to be called after `open`; it is
    closed with the embedder.
    """

    async def open(self) -> None:
        """Learn what can only be asked of the service; `describe` and `embed` come after it. Idempotent.

        Raise Retry when the service is away, Unreachable when only a person can help.
        """
        ...

    def describe(self) -> Description:
        """Say what the model is. Does not block, never changes."""
        ...

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        """Embed at most `max_texts` texts of at most `max_characters` in sum (one longer text alone is allowed).

        Raise RateLimited or Overloaded when the service says so, Retry for every other failure that may pass; Reject
        when it refuses the input: with `index` if it says which text, without where it does not, and TooLong for a
        text that is longer than it takes; Denied for bad credentials and when no quota is left; Unreachable when no
        such model is there, or something else at this address. Never shorten a text silently.
        """
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...
