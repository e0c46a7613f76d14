"""Ollama: models on a machine of one's own.

A model's name is a tag that `ollama pull` moves, so the digest that it stands for is a part of the fingerprint. Texts
that are too long are refused, not cut: `truncate` is false, and what some versions answer then under status 500 is the
text's fault all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from headwater.embedding.port import Embedder, Purpose
from headwater.embedding.providers.http_embedder import Ask, Dialect, Facts, HttpEmbedder
from headwater.embedding.providers.http_service import reached
from headwater.embedding.providers.options import ProviderOptions
from headwater.embedding.providers.refusals import Answer, Complaint, Sent
from headwater.embedding.providers.vectors import Numbers, Read, decode, rows
from headwater.errors import HeadwaterError, Reject

_URL = "http://127.0.0.1:11434"
# It runs the texts of a call one after the other, or a few at once: larger calls only make failures dearer.
_MAX_TEXTS = 64
_MAX_CHARACTERS = 200_000
#: Too long a text, and a model that computed no number: whatever the status, another try ends the same.
_TEXTS_FAULT = re.compile(r"exceeds? .*context|exceed_context_size|unsupported value: [+-]?(?:NaN|Inf)", re.IGNORECASE)


class _Model(msgspec.Struct):
    name: str
    digest: str


class _Tags(msgspec.Struct):
    models: list[_Model]


class _Show(msgspec.Struct):
    model_info: dict[str, Any] = {}


class _Embeddings(msgspec.Struct):
    embeddings: list[Numbers]
    prompt_eval_count: int | None = None


class Ollama(Dialect):
    """The dialect."""

    encoding = "float32 numbers"

    async def learn(self, ask: Ask, sent: Sent) -> Facts:
        shown, listed = await ask("/api/show", {"model": self.options.model}), await ask("/api/tags", None)
        try:
            info, tags = decode(shown.body, _Show).model_info, decode(listed.body, _Tags)
        except msgspec.DecodeError as error:
            raise sent.unreachable("what answers there is no Ollama", "Check the address") from error
        wanted = _tagged(self.options.model)
        digest = next((it.digest for it in tags.models if _tagged(it.name) == wanted), None)
        if digest is None:
            raise sent.unreachable(f"it does not list the model {wanted!r}", f"Fetch it: ollama pull {wanted}")
        context = info.get(f"{info.get('general.architecture')}.context_length")
        return Facts(
            max_texts=_MAX_TEXTS,
            max_characters=_MAX_CHARACTERS,
            max_text_tokens=context if isinstance(context, int) and context > 0 else None,
            identity=(digest,),
        )

    def request(self, texts: Sequence[str], purpose: Purpose) -> tuple[str, dict[str, Any]]:  # noqa: ARG002 (prefixes tell it)
        body: dict[str, Any] = {"model": self.options.model, "input": texts, "truncate": False}
        if self.options.dimensions:
            body["dimensions"] = self.options.dimensions
        return "/api/embed", body

    def read(self, answer: Answer) -> Read:
        found = decode(answer.body, _Embeddings)
        return Read(rows(found.embeddings), tuple(range(len(found.embeddings))), found.prompt_eval_count)

    def refused(self, status: int, said: Complaint, sent: Sent) -> HeadwaterError | None:
        if status in (400, 413, 422, 500) and _TEXTS_FAULT.search(said.message):
            return Reject(f"the service refuses it (HTTP {status}): {sent.discreet(said.message)}".rstrip(": "))
        return None


def ollama(options: ProviderOptions) -> Embedder:
    """Make an embedder of an Ollama, of the one on this machine where no `url` is given."""
    options.require("model", "for example `ollama/nomic-embed-text`")
    service = reached(options, _URL)
    return HttpEmbedder("ollama", options, service, Ollama(options))


def _tagged(name: str) -> str:
    """Return the name as Ollama lists it: with its tag."""
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
