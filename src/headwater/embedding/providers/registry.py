"""Which provider makes the embedder of a name such as `openai/text-embedding-3-small`.

A package of a third party brings a provider by an entry point of the group `headwater.embedders`: its name is the
provider's, and it names a `Factory`. The suite to hold it to is `headwater.testing.embedder_contract`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from headwater.embedding.port import Embedder
from headwater.embedding.providers.options import Factory, ProviderOptions
from headwater.errors import Misconfigured, Unreachable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "headwater.embedders"

_HERE = "headwater.embedding.providers"
_BUILT_IN = {
    "static": f"{_HERE}.builtin:static",
    "hash": f"{_HERE}.builtin:hashing",
    "onnx": f"{_HERE}.builtin:minilm",
    "openai": f"{_HERE}.openai:openai",
    "azure": f"{_HERE}.openai:azure",
    "tei": f"{_HERE}.tei:tei",
    "ollama": f"{_HERE}.ollama:ollama",
    "cohere": f"{_HERE}.cohere:cohere",
    "voyage": f"{_HERE}.voyage:voyage",
}


def providers() -> dict[str, EntryPoint]:
    """Return the providers by name. A built-in one is never replaced by another of its name."""
    # Looking through what is installed takes longer than the rest of a search: it is left to those who need it.
    from importlib.metadata import EntryPoint, entry_points  # noqa: PLC0415 (slow to import, and seldom needed)

    brought = {point.name: point for point in entry_points(group=GROUP)}
    return brought | {name: EntryPoint(name, place, GROUP) for name, place in _BUILT_IN.items()}


def factory(provider: str) -> Factory:
    """Return what makes a provider's embedders.

    Raise Misconfigured when nobody brings it, Unreachable when it cannot be loaded.
    """
    point = None if provider in _BUILT_IN else _brought(provider)
    place = point.value if point else _BUILT_IN[provider]
    try:
        found = point.load() if point else _built_in(place)
    except (ImportError, AttributeError) as error:
        raise Unreachable(
            f"provider {provider}",
            f"{place} cannot be loaded: {error}",
            "Install its package again",
            code="provider-broken",
        ) from error
    if not callable(found):
        raise Unreachable(
            f"provider {provider}", f"{place} is no factory", "Report it to its package", code="provider-broken"
        )
    return found  # type: ignore[no-any-return]  # what an entry point names has no type


def _built_in(place: str) -> object:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _brought(provider: str) -> EntryPoint:
    known = providers()
    if provider not in known:
        raise Misconfigured("model", f"a model of one of {', '.join(sorted(known))}", "an unknown provider")
    return known[provider]


def embedder(model: str, options: ProviderOptions | None = None) -> Embedder:
    """Return the embedder of `provider/model`, or of a provider that has only one model. `options.model` is replaced.

    Raise Misconfigured or Unreachable.
    """
    provider, _, name = model.partition("/")
    made = msgspec.structs.replace(options or ProviderOptions(model=""), model=name)
    return factory(provider)(made)
