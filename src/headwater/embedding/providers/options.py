"""What a provider is told: all that a recipe may say of an embedding service, and nothing of how it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from headwater.embedding.port import Compute, Embedder, on_a_thread
from headwater.errors import Misconfigured


class ProviderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one address. `key` never shows in a repr.

    `url` None means the provider's own address. `revision` is whatever the user calls the state of the model, where the
    service does not say. `dimensions` None means the model's own. The prefixes are put before every text of their
    purpose. `ca` is a file with the certificates to trust. `timeout_s` bounds one call, from its start to the last byte
    of its answer. The three limits replace what is known of the service; None leaves it as it is.
    """

    model: str
    url: str | None = None
    key: str | None = None
    revision: str = ""
    dimensions: int | None = None
    query_prefix: str = ""
    document_prefix: str = ""
    ca: Path | None = None
    timeout_s: float = 60.0
    max_texts: int | None = None
    max_text_tokens: int | None = None
    max_call_tokens: int | None = None
    compute: Compute = on_a_thread

    def __repr__(self) -> str:
        return f"ProviderOptions({self.model!r})"

    def require(self, field: str, hint: str) -> None:
        """Raise Misconfigured when a text of this name is missing."""
        if not (getattr(self, field) or "").strip():
            raise Misconfigured(field, _EXPECTED[field], "none", hint=hint)

    def refuse(self, *fields: str, by: str) -> None:
        """Raise Misconfigured when one of these fields is set: this provider has no such thing."""
        for field in fields:
            if getattr(self, field) not in (None, ""):
                raise Misconfigured(field, f"nothing, because {by} has no such setting", "a value")


_EXPECTED = {
    "model": "the provider's name, a slash and the model's name",
    "key": "the provider's key",
    "url": "the address of the service",
}

#: How a provider is made. It asks nobody; raise Misconfigured with the option's name as `path`.
Factory = Callable[[ProviderOptions], Embedder]
