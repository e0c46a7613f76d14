"""Cohere's embeddings, version 2 of its interface. What is too long is refused, not cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headwater.embedding.port import Embedder, Purpose
from headwater.embedding.providers.http_embedder import Dialect, Facts, HttpEmbedder
from headwater.embedding.providers.http_service import with_accounts
from headwater.embedding.providers.options import ProviderOptions
from headwater.embedding.providers.refusals import Answer, Complaint, Sent
from headwater.embedding.providers.vectors import Numbers, Read, decode, rows
from headwater.errors import HeadwaterError

_URL = "https://api.cohere.com"
_MAX_TEXTS = 96
# 96 texts of 512 tokens, which is what the third generation takes, at four characters each.
_MAX_CHARACTERS = 96 * 512 * 4
#: What sets a trial key's monthly limit apart from its limit a minute.
_MONTHLY = "API calls / month"
_INPUT_TYPES = {Purpose.DOCUMENT: "search_document", Purpose.QUERY: "search_query"}
#: Dimensions, and tokens of one text.
_MODELS = {
    "embed-v4.0": (1536, 128_000),
    "embed-english-v3.0": (1024, 512),
    "embed-multilingual-v3.0": (1024, 512),
    "embed-english-light-v3.0": (384, 512),
    "embed-multilingual-light-v3.0": (384, 512),
}


class _Vectors(msgspec.Struct):
    numbers: list[Numbers] = msgspec.field(name="float")


class _Units(msgspec.Struct):
    input_tokens: float | None = None


class _Meta(msgspec.Struct):
    billed_units: _Units | None = None


class _Answer(msgspec.Struct):
    embeddings: _Vectors
    meta: _Meta | None = None


class Cohere(Dialect):
    """The dialect."""

    encoding = "float32 numbers, search_document and search_query"

    def facts(self) -> Facts:
        dimensions, tokens = _MODELS.get(self.options.model, (None, None))
        return Facts(_MAX_TEXTS, _MAX_CHARACTERS, self.options.dimensions or dimensions, tokens)

    def request(self, texts: Sequence[str], purpose: Purpose) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self.options.model,
            "texts": texts,
            "input_type": _INPUT_TYPES[purpose],
            "embedding_types": ["float"],
            "truncate": "NONE",
        }
        if self.options.dimensions:
            body["output_dimension"] = self.options.dimensions
        return "/v2/embed", body

    def read(self, answer: Answer) -> Read:
        found = decode(answer.body, _Answer)
        units = found.meta.billed_units if found.meta else None
        tokens = units.input_tokens if units else None
        numbers = found.embeddings.numbers
        return Read(rows(numbers), tuple(range(len(numbers))), None if tokens is None else int(tokens))

    def refused(self, status: int, said: Complaint, sent: Sent) -> HeadwaterError | None:
        if status == 429 and _MONTHLY in said.message:
            return sent.denied("the trial key's calls of this month are used up", "Use a production key")
        if status == 498:  # its own status for a token that it does not take
            return sent.denied("the key is refused (HTTP 498)", "Check the key, and that it may use this model")
        return None


def cohere(options: ProviderOptions) -> Embedder:
    """Make an embedder of Cohere."""
    service = with_accounts(options, _URL, "cohere/embed-v4.0", "COHERE_API_KEY")
    return HttpEmbedder("cohere", options, service, Cohere(options))
