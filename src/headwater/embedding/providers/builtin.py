"""The models that need no service, made from the options of a provider."""

from __future__ import annotations

from headwater.embedding.port import Embedder
from headwater.embedding.providers.hash import HashEmbedder
from headwater.embedding.providers.onnx import MODEL, OnnxEmbedder
from headwater.embedding.providers.options import ProviderOptions
from headwater.embedding.providers.static import StaticEmbedder
from headwater.errors import Misconfigured

_SERVICE = ("url", "key", "revision", "query_prefix", "document_prefix", "ca")
_LIMITS = ("max_texts", "max_text_tokens", "max_call_tokens")


def static(options: ProviderOptions) -> Embedder:
    """Make the built-in model."""
    options.refuse("model", *_SERVICE, *_LIMITS, "dimensions", by="the static model")
    return StaticEmbedder(compute=options.compute)


def hashing(options: ProviderOptions) -> Embedder:
    """Make the model for tests."""
    options.refuse("model", *_SERVICE, *_LIMITS, by="the hash model")
    if options.dimensions is None:
        return HashEmbedder(compute=options.compute)
    return HashEmbedder(dimensions=options.dimensions, compute=options.compute)


def minilm(options: ProviderOptions) -> Embedder:
    """Make the better model that runs here."""
    if options.model != MODEL:
        raise Misconfigured("model", f"onnx/{MODEL}, the only model that onnx has", "another one")
    options.refuse(*_SERVICE, *_LIMITS, "dimensions", by=f"onnx/{MODEL}")
    return OnnxEmbedder(compute=options.compute)
