"""The embedder of every service over HTTP. What differs between services is a `Dialect`, and most of that is pure.

A text without anything in it is not sent: half of the services refuse it, and with it the whole call. It gets the
vector that a text without words has for every model (`wordless`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from typing import Any, TypeVar

import msgspec
import numpy as np

from headwater.embedding.batches import Batches
from headwater.embedding.port import PROBE, Description, Embedded, Purpose
from headwater.embedding.providers.http_service import HttpService
from headwater.embedding.providers.options import ProviderOptions
from headwater.embedding.providers.rate_limits import allowances
from headwater.embedding.providers.refusals import Answer, Complaint, Sent, complaint, foreign, refusal
from headwater.embedding.providers.vectors import Damaged, Read
from headwater.embedding.providers.wordless import wordless
from headwater.errors import HeadwaterError, Reject, Retry

_REVISION = 1
#: A number takes at most 25 characters as JSON, and one space more.
NUMBER_BYTES = 26
_ENVELOPE_BYTES = 1 << 20
_DIMENSIONS_MAX = 1 << 16
# Below this a hop to a thread costs more than it spares the loop.
_INLINE_BYTES = 1 << 20

T = TypeVar("T")


class Facts(msgspec.Struct, frozen=True):
    """What is known of a model at a service. `dimensions` None: one text has to be embedded to learn it.

    `identity` is whatever else the vectors depend on: the revision that the service serves, its number format.
    """

    max_texts: int
    max_characters: int
    dimensions: int | None = None
    max_text_tokens: int | None = None
    max_call_tokens: int | None = None
    identity: tuple[str, ...] = ()


#: Asks the service for what it says at a place below its address: a GET, or a POST where there is a body.
Ask = Callable[[str, Any], Awaitable[Answer]]


class Dialect:
    """How one kind of service is spoken to. All but `learn` is pure. Override `facts` or `learn`, and the rest."""

    #: How vectors come, and the input types that stand for the purposes: a part of the fingerprint.
    encoding: str

    def __init__(self, options: ProviderOptions) -> None:
        self.options = options

    def facts(self) -> Facts | None:
        """Return what is known without asking; None where only the service knows."""
        return None

    async def learn(self, ask: Ask, sent: Sent) -> Facts:
        """Ask the service what it is. Raise Unreachable when it is not what the options name."""
        raise NotImplementedError

    def request(self, texts: Sequence[str], purpose: Purpose) -> tuple[str, dict[str, Any]]:
        """Return the place and the body of a call."""
        raise NotImplementedError

    def read(self, answer: Answer) -> Read:
        """Read an answer of status 2xx. Raise Damaged, or msgspec.DecodeError when it has another shape."""
        raise NotImplementedError

    def refused(self, status: int, said: Complaint, sent: Sent) -> HeadwaterError | None:  # noqa: ARG002 (for those that override it)
        """Say what a refusal means here; None where it means what it means everywhere."""
        return None

    def batches(self, service: HttpService, sent: Sent, model: Description) -> Batches | None:  # noqa: ARG002 (as above)
        """Return the service's batch interface; None where it has none."""
        return None


class HttpEmbedder:
    """A model behind an address. `describe` works at once where the model is known, else after `open`."""

    def __init__(self, provider: str, options: ProviderOptions, service: HttpService, dialect: Dialect) -> None:
        self._name = f"{provider}/{options.model}" if options.model else provider
        self._provider = provider
        self._options = options
        self._service = service
        self._dialect = dialect
        self._opening = asyncio.Lock()
        self._sent = Sent(self._name, service.host, service.url_of(""), key=(options.key or "").strip())
        facts = dialect.facts()
        self._description = self._described(facts, facts.dimensions) if facts and facts.dimensions else None

    def __repr__(self) -> str:
        return f"HttpEmbedder({self._name!r} at {self._service.host!r})"

    async def open(self) -> None:
        async with self._opening:
            if self._description is not None:
                return
            facts = self._dialect.facts() or await self._dialect.learn(self._ask, self._sent)
            dimensions = facts.dimensions
            if dimensions is None:
                try:
                    read, _ = await self._read([PROBE], Purpose.DOCUMENT, _DIMENSIONS_MAX)
                except Reject as reject:
                    raise self._sent.unreachable(
                        f"it refuses every text: {reject.reason}", "Check the model and its settings"
                    ) from reject
                dimensions = read.vectors.shape[1]
                if dimensions != (self._options.dimensions or dimensions):
                    raise self._sent.unreachable(
                        f"it answers {dimensions} dimensions where {self._options.dimensions} were asked for",
                        "Leave `dimensions` away, or name a model that can be shortened",
                    )
            self._description = self._described(facts, dimensions)

    def describe(self) -> Description:
        if self._description is None:
            raise RuntimeError(f"{self._name} describes itself after open()")
        return self._description

    async def embed(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> Embedded:
        dimensions = self.describe().dimensions
        options = self._options
        prefix = options.query_prefix if purpose is Purpose.QUERY else options.document_prefix
        places = [place for place, text in enumerate(texts) if text and not text.isspace()]
        if not places:
            return _complete(Embedded(np.empty((0, dimensions), np.float32), (), 0), texts, places)
        try:
            read, headers = await self._read([prefix + texts[place] for place in places], purpose, dimensions)
        except Reject as reject:
            if reject.index is not None:
                reject.index = places[reject.index]
            raise
        requests, tokens = allowances(headers)
        answer = Embedded(read.vectors, read.index, read.tokens or 0, requests, tokens)
        return _complete(answer, texts, places)

    def batches(self) -> Batches | None:
        """Return the service's batch interface, after `open`; it is closed with this. None: it has none."""
        return self._dialect.batches(self._service, self._sent, self.describe())

    async def close(self) -> None:
        await self._service.close()

    async def _read(self, texts: list[str], purpose: Purpose, dimensions: int) -> tuple[Read, Any]:
        sent = msgspec.structs.replace(self._sent, texts=texts)
        place, request = self._dialect.request(texts, purpose)
        most_bytes = _ENVELOPE_BYTES + len(texts) * dimensions * NUMBER_BYTES
        answer = await self._service.ask(place, encoded(request, texts), sent, most_bytes)
        self._check(answer, sent)
        if len(answer.body) > _INLINE_BYTES:
            return await asyncio.to_thread(understood, answer, sent, self._dialect.read), answer.headers
        return understood(answer, sent, self._dialect.read), answer.headers

    async def _ask(self, place: str, request: Any) -> Answer:
        body = None if request is None else msgspec.json.encode(request)
        answer = await self._service.ask(place, body, self._sent, 16 * _ENVELOPE_BYTES)
        try:
            self._check(answer, self._sent)
        except Reject as reject:
            raise self._sent.unreachable(reject.reason, "Check the model's name and the address") from reject
        return answer

    def _check(self, answer: Answer, sent: Sent) -> None:
        if not 200 <= answer.status < 300:
            said = complaint(answer.body)
            raise self._dialect.refused(answer.status, said, sent) or refusal(answer, sent)

    def _described(self, facts: Facts, dimensions: int) -> Description:
        options = self._options
        parts = (
            self._provider,
            _REVISION,
            options.model,
            options.revision,
            dimensions,
            options.query_prefix,
            options.document_prefix,
            self._dialect.encoding,
            *facts.identity,
        )
        return Description(
            name=self._name,
            fingerprint=sha256(repr(parts).encode()).hexdigest(),
            dimensions=dimensions,
            max_texts=options.max_texts or facts.max_texts,
            max_characters=facts.max_characters,
            max_text_tokens=options.max_text_tokens or facts.max_text_tokens,
            max_call_tokens=options.max_call_tokens or facts.max_call_tokens,
            host=self._service.host,
        )


def understood(answer: Answer, sent: Sent, read: Callable[[Answer], T]) -> T:
    """Read an answer of status 2xx. Raise Retry for one that is damaged, Unreachable for that of something else."""
    try:
        return read(answer)
    except Damaged as error:
        raise Retry(sent.name, f"{sent.host} answers what cannot be used: {error}") from error
    except msgspec.ValidationError as error:
        said = complaint(answer.body)
        if said.message or said.codes:  # a failure under a status that says success
            raise Retry(sent.name, f"{sent.host} answers {sent.discreet(said.message)}".rstrip()) from error
        raise foreign(sent, answer.status) from error
    except msgspec.DecodeError as error:
        if answer.body.lstrip()[:1] in (b"{", b"["):
            raise Retry(sent.name, f"{sent.host} sent an answer that breaks off") from error
        raise foreign(sent, answer.status) from error


def encoded(request: dict[str, Any], texts: Sequence[str]) -> bytes:
    """Return a request as JSON. Raise Reject with the place of a text that it cannot hold."""
    try:
        return msgspec.json.encode(request)
    except UnicodeEncodeError as error:
        for index, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise Reject("the text holds a lone surrogate, which is not Unicode text", index) from error
        raise


def _complete(answer: Embedded, texts: Sequence[str], places: list[int]) -> Embedded:
    """Put the vectors of the texts that were not sent beside those of the ones that were, at `places`."""
    width = answer.vectors.shape[1]
    silent = sorted(set(range(len(texts))) - set(places))
    if not silent:
        return answer
    empty = [wordless(texts[place], width) for place in silent]
    # What the service says of a place that it was not asked about stays wrong, for whoever checks.
    told = tuple(places[it] if 0 <= it < len(places) else -1 for it in answer.index)
    return Embedded(
        np.concatenate([answer.vectors, np.stack(empty)]),
        (*told, *silent),
        answer.tokens,
        answer.requests_left,
        answer.tokens_left,
    )
