"""Which provider makes the embedder of a name such as `openai/text-embedding-3-small`.

A package of a third party brings a provider by an entry point of the group `headwater.embedders`: its name is the
provider's, and it names a `Factory`. The suite to hold it to is `headwater.testing.embedder_contract`.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import msgspec

from headwater.embedding.port import Embedder
from headwater.embedding.providers.options import Factory, ProviderOptions
from headwater.errors import Misconfigured, Unreachable

GROUP = "headwater.embedders"

_HERE = "headwater.embedding.providers"
_BUILT_IN = {
    "static": f"{_HERE}.builtin:static",
    "hash": f"{_HERE}.builtin:hashing",
    "openai": f"{_HERE}.openai:openai",
    "azure": f"{_HERE}.openai:azure",
    "tei": f"{_HERE}.tei:tei",
    "ollama": f"{_HERE}.ollama:ollama",
    "cohere": f"{_HERE}.cohere:cohere",
    "voyage": f"{_HERE}.voyage:voyage",
}


def providers() -> dict[str, EntryPoint]:
    """Return the providers by name. A built-in one is never replaced by another of its name."""
    brought = {point.name: point for point in entry_points(group=GROUP)}
    return brought | {name: EntryPoint(name, place, GROUP) for name, place in _BUILT_IN.items()}


def factory(provider: str) -> Factory:
    """Return what makes a provider's embedders.

    Raise Misconfigured when nobody brings it, Unreachable when it cannot be loaded.
    """
    known = providers()
    if provider not in known:
        raise Misconfigured("model", f"a model of one of {', '.join(sorted(known))}", "an unknown provider")
    point = known[provider]
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise Unreachable(
            f"provider {provider}", f"{point.value} cannot be loaded: {error}", "Install its package again"
        ) from error
    if not callable(found):
        raise Unreachable(f"provider {provider}", f"{point.value} is no factory", "Report it to its package")
    return found  # type: ignore[no-any-return]  # what an entry point names has no type


def embedder(model: str, options: ProviderOptions | None = None) -> Embedder:
    """Return the embedder of `provider/model`, or of a provider that has only one model. `options.model` is replaced.

    Raise Misconfigured or Unreachable.
    """
    provider, _, name = model.partition("/")
    made = msgspec.structs.replace(options or ProviderOptions(model=""), model=name)
    return factory(provider)(made)
