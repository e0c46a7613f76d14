"""Asks models: a few fixed texts, never a document's, within a few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from headwater.doctor.models import AskedModel, Outcome
from headwater.embedding.answers import check
from headwater.embedding.port import PROBE, Embedder
from headwater.embedding.witness import PROBES, cosine, encode, tail_pair
from headwater.errors import HeadwaterError, Reject, Retry
from headwater.settings.addresses import is_loopback
from headwater.settings.embed import EmbedSettings
from headwater.wiring import Site

#: A model has so long to answer all that it is asked.
_ASK_S = 8.0


async def ask_model(site: Site, asked: AskedModel) -> Outcome:
    """Ask a model. Raises nothing for what it finds."""
    try:
        embedder = site.embedder(asked.stream)
        async with asyncio.timeout(_ASK_S):
            await embedder.open()
            return await _witnessed(embedder, asked)
    except HeadwaterError as error:
        return Outcome(error)
    except TimeoutError:
        return Outcome(Retry(asked.model, f"it did not answer within {_ASK_S:g} s"))


async def _witnessed(embedder: Embedder, asked: AskedModel) -> Outcome:
    model = embedder.describe()
    if not model.witnessed:
        await _vectors(embedder, [PROBE])
        return Outcome(model=model)
    probes = encode(await _vectors(embedder, PROBES))
    try:
        one, other = await _vectors(embedder, tail_pair(asked.longest))
    except Reject:
        return Outcome(model=model, probes=probes)  # to refuse what is too long is honest
    return Outcome(model=model, alike=cosine(one, other), probes=probes)


async def _vectors(embedder: Embedder, texts: Sequence[str]) -> list[bytes]:
    model, vectors = embedder.describe(), []
    for start in range(0, len(texts), model.max_texts):
        some = texts[start : start + model.max_texts]
        vectors += check(await embedder.embed(some), len(some), model.name, model.dimensions)
    return vectors


def asked_of(stream: str, settings: EmbedSettings, longest: int, overlap: int) -> AskedModel:
    """Return what is asked, with what the environment does to the calls. `longest` is that of the stream's recipe."""
    key = "none" if settings.key is None else "there" if settings.key.get_secret_value().strip() else "blank"
    url = settings.url or ""
    return AskedModel(
        stream,
        settings.model,
        url,
        key,
        _proxy(url),
        loopback=bool(url) and is_loopback(url),
        longest=longest,
        overlap=overlap,
        too_long=settings.too_long,
    )


def _proxy(url: str) -> str:
    """Return the variable that sends calls to an address through a proxy; empty where none does."""
    parts = urlsplit(url or "https://")
    proxies = getproxies_environment()
    scheme = next((it for it in (parts.scheme, "all") if it in proxies), "")
    if not scheme or (parts.netloc and proxy_bypass(parts.netloc)):
        return ""
    return f"{scheme.upper()}_PROXY"
