"""Voyage's embeddings. It cuts what is too long unless told not to; we tell it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.embedding.port import Embedder, Purpose
from headwater.embedding.providers.http_embedder import Dialect, Facts, HttpEmbedder
from headwater.embedding.providers.http_service import with_accounts
from headwater.embedding.providers.openai import read
from headwater.embedding.providers.options import ProviderOptions
from headwater.embedding.providers.refusals import Answer
from headwater.embedding.providers.vectors import Read

_URL = "https://api.voyageai.com/v1"
_MAX_TEXTS = 1000
_INPUT_TYPES = {Purpose.DOCUMENT: "document", Purpose.QUERY: "query"}
_CONTEXT = 32_000
_LEAST_CALL_TOKENS = 120_000
#: Dimensions, and tokens of one call.
_MODELS = {
    "voyage-4-large": (1024, 120_000),
    "voyage-4": (1024, 320_000),
    "voyage-4-lite": (1024, 1_000_000),
    "voyage-code-4": (1024, 120_000),
    "voyage-3.5": (1024, 320_000),
    "voyage-3.5-lite": (1024, 1_000_000),
    "voyage-3-large": (1024, 120_000),
    "voyage-code-3": (1024, 120_000),
    "voyage-finance-2": (1024, 120_000),
    "voyage-law-2": (1024, 120_000),
}
_SHORTER = {"voyage-law-2": 16_000}


class Voyage(Dialect):
    """The dialect."""

    encoding = "float32 base64, document and query"

    def facts(self) -> Facts:
        model = self.options.model
        dimensions, tokens = _MODELS.get(model, (None, _LEAST_CALL_TOKENS))
        return Facts(
            max_texts=_MAX_TEXTS,
            max_characters=3 * tokens,
            dimensions=self.options.dimensions or dimensions,
            max_text_tokens=_SHORTER.get(model, _CONTEXT) if model in _MODELS else None,
            max_call_tokens=tokens,
        )

    def request(self, texts: Sequence[str], purpose: Purpose) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self.options.model,
            "input": texts,
            "input_type": _INPUT_TYPES[purpose],
            "truncation": False,
            "encoding_format": "base64",
        }
        if self.options.dimensions:
            body["output_dimension"] = self.options.dimensions
        return "/embeddings", body

    def read(self, answer: Answer) -> Read:
        return read(answer.body)


def voyage(options: ProviderOptions) -> Embedder:
    """Make an embedder of Voyage."""
    service = with_accounts(options, _URL, "voyage/voyage-4", "VOYAGE_API_KEY")
    return HttpEmbedder("voyage", options, service, Voyage(options))
