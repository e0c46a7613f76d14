"""OpenAI's embeddings, and all that speak as it does: Azure, vLLM, LocalAI, LiteLLM and many more.

Vectors are asked for as base64 of float32, a third of their size as numbers; a server that does not know this sends
numbers, and both are read. OpenAI refuses what is too long; so does vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from headwater.embedding.batches import Batches
from headwater.embedding.port import Description, Embedder, Purpose
from headwater.embedding.providers.http_embedder import Dialect, Facts, HttpEmbedder
from headwater.embedding.providers.http_service import HttpService, spoken, with_accounts
from headwater.embedding.providers.openai_batches import OpenAiBatches
from headwater.embedding.providers.options import ProviderOptions
from headwater.embedding.providers.refusals import Answer, Sent
from headwater.embedding.providers.vectors import Damaged, Numbers, Read, decode, rows

_URL = "https://api.openai.com/v1"
_MAX_TEXTS = 2048
_MAX_TEXT_TOKENS = 8192
_MAX_CALL_TOKENS = 300_000
#: Of OpenAI's own models: the dimensions that they have unless asked for fewer.
_DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
# Prose has more than three characters a token: where nobody counts, a call stays below the service's limit.
_MAX_CHARACTERS = 3 * _MAX_CALL_TOKENS
# Of a server that is not known: what a GPU works well with, and what no server minds.
_MAX_TEXTS_ELSEWHERE = 256


class _Item(msgspec.Struct):
    index: int
    embedding: bytes | Numbers  # base64 is taken apart as it is decoded, three times as fast as after it


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Item]
    usage: _Usage | None = None


class _AnyItem(msgspec.Struct):
    index: int
    embedding: str | list[Any]


class _AnyAnswer(msgspec.Struct):
    data: list[_AnyItem]


class OpenAi(Dialect):
    """The dialect. `own`: the models of OpenAI itself answer there, within OpenAI's limits. `batched`: it may have a
    batch interface; who has none says so when it is asked for one.
    """

    encoding = "float32 base64"

    def __init__(self, options: ProviderOptions, *, own: bool, batched: bool = True) -> None:
        super().__init__(options)
        self._own = own
        self._batched = batched

    def facts(self) -> Facts:
        dimensions = self.options.dimensions or _DIMENSIONS.get(self.options.model)
        if self._own:
            return Facts(_MAX_TEXTS, _MAX_CHARACTERS, dimensions, _MAX_TEXT_TOKENS, _MAX_CALL_TOKENS)
        return Facts(_MAX_TEXTS_ELSEWHERE, _MAX_CHARACTERS, dimensions)

    def request(self, texts: Sequence[str], purpose: Purpose) -> tuple[str, dict[str, Any]]:  # noqa: ARG002 (prefixes tell it)
        body: dict[str, Any] = {"model": self.options.model, "input": texts, "encoding_format": "base64"}
        if self.options.dimensions:
            body["dimensions"] = self.options.dimensions
        return "/embeddings", body

    def read(self, answer: Answer) -> Read:
        return read(answer.body)

    def batches(self, service: HttpService, sent: Sent, model: Description) -> Batches | None:
        return OpenAiBatches(service, self, sent, model) if self._batched else None


def read(body: bytes) -> Read:
    """Read vectors as OpenAI and Voyage send them. Raise Damaged, or msgspec.DecodeError for another shape."""
    try:
        found = decode(body, _Answer)
    except msgspec.ValidationError as error:
        decode(body, _AnyAnswer)  # raises again where it is no answer of this kind at all
        raise Damaged("its vectors are neither base64 nor numbers") from error
    usage = found.usage or _Usage()
    tokens = usage.total_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    return Read(rows([it.embedding for it in found.data]), tuple(it.index for it in found.data), tokens)


def openai(options: ProviderOptions) -> Embedder:
    """Make an embedder of OpenAI, or of what speaks like it at `url`, which ends before `/embeddings`."""
    service = with_accounts(options, _URL, "openai/text-embedding-3-small", "OPENAI_API_KEY")
    own = options.url is None or options.model in _DIMENSIONS
    return HttpEmbedder("openai", options, service, OpenAi(options, own=own))


def azure(options: ProviderOptions) -> Embedder:
    """Make an embedder of Azure OpenAI. `model` is the deployment's name.

    `url` is `https://NAME.openai.azure.com/openai/v1`, or the older
    `https://NAME.openai.azure.com/openai/deployments/DEPLOYMENT?api-version=VERSION`, below which there are no batches.
    """
    options.require("model", "for example `azure/` and the deployment's name")
    options.require("url", "for example https://NAME.openai.azure.com/openai/v1")
    options.require("key", "for example `key: ${env:AZURE_OPENAI_API_KEY}`")
    service = HttpService(options.url or "", {"api-key": spoken(options.key)}, options.ca, options.timeout_s)
    batched = urlsplit(options.url or "").path.rstrip("/").endswith("/v1")
    return HttpEmbedder("azure", options, service, OpenAi(options, own=True, batched=batched))
