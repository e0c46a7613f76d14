"""The port of the embedding cache: vectors that were paid for, kept beyond the process. And the seal of each, pure.

A wrong vector is worse than none: it is searched for ever, and nobody sees it (anomaly cache-poison). So an entry
carries the length of its text and a checksum over all that it belongs to, and what does not match is a miss. That finds
damage, collisions and mistakes. It does not find a forger: who may write the cache may write vectors, and who may read
it may guess at texts. It is to be guarded as the index is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from headwater.model.change import digest

_CHECKSUM_BYTES = 8
_LENGTH_BYTES = 8
#: What a seal adds to a vector.
SEAL_BYTES = _CHECKSUM_BYTES + _LENGTH_BYTES


class Space(NamedTuple):
    """Whose vectors, and of which model: entries of two spaces never meet.

    `tenant` is a name from the configuration, '' without one. `model` is the model's fingerprint, `dimensions` how many
    numbers its vectors have. Only documents are cached, so the purpose of every entry is `document`.
    """

    tenant: str
    model: str
    dimensions: int


class TextKey(NamedTuple):
    """A text without the text: SHA-256 of its UTF-8, and its length there in bytes."""

    digest: bytes
    bytes: int


#: Stands for no document: for it is held what was paid for and nobody needs any more, so that it is billed.
UNCLAIMED = "\0unclaimed"


class Held(NamedTuple):
    """A vector that was bought ahead, and the tokens that the service counted for its text."""

    text: TextKey
    vector: bytes
    tokens: int


class Cache(Protocol):
    """Vectors by tenant, model and exact text, little-endian float32 as the gateway returns them. No text is kept.

    A cache never fails the work, erasure apart: one that is away, full or damaged has misses and takes nothing, and
    says so once to whom it was told to. It is bounded, and lets go first of what was not asked for the longest. Calls
    may run at the same time, and several processes may share one cache.
    """

    async def get(self, space: Space, texts: Sequence[TextKey], *, surely: bool = False) -> list[bytes | None]:
        """Return the vectors in the order asked, None where there is none. What is unsound is none, and is deleted.

        `surely`: raise Retry or Unreachable where a cache that is away or damaged has misses otherwise.
        """
        ...

    async def put(self, space: Space, vectors: Mapping[TextKey, bytes]) -> None:
        """Keep vectors, in place of what is there. Raise ValueError when one has other dimensions than the space."""
        ...

    async def forget(self, tenant: str, digests: Sequence[bytes]) -> None:
        """Let go of a tenant's vectors of these texts, of every model; when this returns, their bytes are gone.

        That includes what is held for documents. What it cost is told by `release` all the same.

        This is erasure, so it does fail: raise Retry or Unreachable when it cannot be done. Who puts such a text again
        brings it back, so call it when nothing of the document is under way.
        """
        ...

    async def hold(self, space: Space, stream: str, held: Mapping[str, Sequence[Held]]) -> None:
        """Keep vectors that were bought ahead for documents of a stream, by their ids, beside what these have already.

        They are found by `get` like any other, count for the bound, and are not evicted: each is kept until its
        document is released. Who holds the same again, holds it once. Raise Retry or Unreachable when that cannot be
        done, for they were paid for; Misconfigured when they do not fit into the bound.
        """
        ...

    async def release(self, tenant: str, stream: str, documents: Sequence[str]) -> dict[str, int]:
        """Let go of what is held for documents of a stream; return what that cost, in tokens, where something was held.

        When this returns, the bytes are gone, as after `forget`; it raises as that does. Where nothing is held for
        anybody it costs no write.
        """
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...


class Kept:
    """A cache as one stream uses it: by the digests of its texts, and by the ids of its documents."""

    def __init__(self, cache: Cache, space: Space, stream: str) -> None:
        self._cache = cache
        self._space = space
        self._stream = stream

    async def get(self, texts: Mapping[bytes, str]) -> dict[bytes, bytes]:
        """Return the vectors that are kept, of texts by their digests."""
        found = await self._cache.get(self._space, [key_of(text) for text in texts.values()])
        return {key: vector for key, vector in zip(texts, found, strict=True) if vector is not None}

    async def forget(self, digests: Sequence[bytes]) -> None:
        """Let go of the vectors of these texts. Raise Retry or Unreachable when that cannot be done."""
        if digests:
            await self._cache.forget(self._space.tenant, digests)

    async def release(self, documents: Sequence[str]) -> dict[str, int]:
        """Let go of what is held for these documents, and return its tokens, where something was. Raise as `forget`."""
        return await self._cache.release(self._space.tenant, self._stream, documents)

    async def put(self, vectors: Mapping[str, bytes]) -> None:
        """Keep the vectors of these texts."""
        if vectors:
            await self._cache.put(self._space, {key_of(text): vector for text, vector in vectors.items()})


def key_of(text: str) -> TextKey:
    """Return the key of a text, be it one that no model takes."""
    data = text.encode("utf-8", "surrogatepass")
    return TextKey(digest(data), len(data))


def seal(space: Space, text: TextKey, vector: bytes) -> bytes:
    """Return a vector with the length of its text and a checksum. Raise ValueError when it has other dimensions."""
    if len(vector) != 4 * space.dimensions:
        raise ValueError(f"a vector of {len(vector)} bytes, {space.dimensions} dimensions of float32 were expected")
    return text.bytes.to_bytes(_LENGTH_BYTES, "little") + _checksum(space, text, vector) + vector


def unseal(space: Space, text: TextKey, sealed: bytes) -> bytes | None:
    """Return the vector, or None unless it is whole and of just this tenant, model and text."""
    length, vector = sealed[:_LENGTH_BYTES], sealed[SEAL_BYTES:]
    if len(vector) != 4 * space.dimensions or int.from_bytes(length, "little") != text.bytes:
        return None
    return vector if sealed[_LENGTH_BYTES:SEAL_BYTES] == _checksum(space, text, vector) else None


def _checksum(space: Space, text: TextKey, vector: bytes) -> bytes:
    tenant, model = space.tenant.encode(), space.model.encode()
    # Names are of any length: without theirs, ("ab", "c") and ("a", "bc") would be one.
    head = b"%d %d %d %d " % (len(tenant), len(model), space.dimensions, text.bytes)
    return hashlib.sha256(b"".join((head, tenant, model, text.digest, vector))).digest()[:_CHECKSUM_BYTES]
