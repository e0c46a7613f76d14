"""Hugging Face's Text Embeddings Inference: it says of itself what it serves and what it takes.

`/embed` is used, not the address that speaks like OpenAI: there the server alone decides whether a text is cut, and by
default it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from headwater.embedding.port import Embedder, Purpose
from headwater.embedding.providers.http_embedder import Ask, Dialect, Facts, HttpEmbedder
from headwater.embedding.providers.http_service import reached
from headwater.embedding.providers.options import ProviderOptions
from headwater.embedding.providers.refusals import Answer, Complaint, Sent
from headwater.embedding.providers.vectors import Numbers, Read, decode, rows
from headwater.errors import HeadwaterError, Overloaded

# A server that does not say takes this many texts; and 4 characters a token of each are plenty.
_MAX_TEXTS = 32
_CHARACTERS_PER_TOKEN = 4
# It takes requests of 2 MB unless told otherwise, and a character may have four bytes.
_MAX_CHARACTERS = 500_000


class _Info(msgspec.Struct):
    model_id: str
    model_dtype: str
    max_input_length: int
    model_sha: str | None = None
    max_client_batch_size: int = _MAX_TEXTS
    model_type: dict[str, Any] | str | None = None


class Tei(Dialect):
    """The dialect. A server serves one model: the options may name it, and then it must be that one."""

    encoding = "float32 numbers, normalised"

    async def learn(self, ask: Ask, sent: Sent) -> Facts:
        answer = await ask("/info", None)
        try:
            info = decode(answer.body, _Info)
        except msgspec.DecodeError as error:
            raise sent.unreachable("what answers there is no Text Embeddings Inference", "Check the address") from error
        kind = next(iter(info.model_type), "") if isinstance(info.model_type, dict) else info.model_type
        if kind not in (None, "embedding"):
            raise sent.unreachable(
                f"it serves a {str(kind)[:40]}, no embedding model", "Serve an embedding model there"
            )
        wanted = self.options.model
        # A model from a folder is known to the server by the folder's name only.
        if wanted and not info.model_id.startswith("/") and info.model_id.lower() != wanted.lower():
            raise sent.unreachable(
                f"it serves {info.model_id[:100]!r}, not {wanted!r}", "Correct the model's name or the address"
            )
        characters = info.max_client_batch_size * info.max_input_length * _CHARACTERS_PER_TOKEN
        return Facts(
            max_texts=info.max_client_batch_size,
            max_characters=min(characters, _MAX_CHARACTERS),
            max_text_tokens=info.max_input_length,
            identity=(info.model_id, info.model_sha or "", info.model_dtype),
        )

    def request(self, texts: Sequence[str], purpose: Purpose) -> tuple[str, dict[str, Any]]:  # noqa: ARG002 (prefixes tell it)
        body: dict[str, Any] = {"inputs": texts, "truncate": False, "normalize": True}
        if self.options.dimensions:
            body["dimensions"] = self.options.dimensions
        return "/embed", body

    def read(self, answer: Answer) -> Read:
        found = decode(answer.body, list[Numbers])
        tokens = answer.headers.get("x-compute-tokens", "")
        counted = int(tokens) if tokens.isascii() and tokens.isdigit() and len(tokens) < 12 else None
        return Read(rows(found), tuple(range(len(found))), counted)

    def refused(self, status: int, said: Complaint, sent: Sent) -> HeadwaterError | None:
        # Its 429 means a full queue, not a limit of the account; its 424 that the model's process failed.
        if status == 424 or (status == 429 and "Overloaded" in said.codes):
            words = sent.discreet(said.message)
            return Overloaded(sent.name, f"{sent.host} answers HTTP {status}" + (f": {words}" if words else ""))
        return None


def tei(options: ProviderOptions) -> Embedder:
    """Make an embedder of a Text Embeddings Inference at `url`."""
    options.require("url", "for example http://127.0.0.1:8080")
    service = reached(options)
    return HttpEmbedder("tei", options, service, Tei(options))
