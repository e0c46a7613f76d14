"""The ports of indexes: writing one index generation, reading it, and the catalogue of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from headwater.errors import Halt
from headwater.model.generation import Floor, Generation, Position
from headwater.model.manifest import Answer, ChunkRef, Manifest, Mark, Write
from headwater.model.version import Version


class Capabilities(msgspec.Struct, frozen=True):
    """What an index adapter gives, as the capability table in the docs shows it.

    `fenced`: the manifest is replaced by a conditional write. `atomic_document`: rows and manifest become visible
    together without the reader's check. `reads_own_writes`, `durable_on_ack`, `native_filter`, `purges`,
    `atomic_switch` as they say.
    """

    fenced: bool
    atomic_document: bool
    reads_own_writes: bool
    durable_on_ack: bool
    native_filter: bool
    purges: bool
    atomic_switch: bool
    visible_after_s: float = 0.0


class Torn(NamedTuple):
    """A document whose manifest cannot be read, since something damaged the index, and what of it can be read."""

    id: str
    revision: int
    version: Version


class TornDocuments(Halt):
    """These documents of a stream's index cannot be read. Whatever else the call could do is not thereby wrong."""

    def __init__(self, stream: str, documents: Sequence[Torn]) -> None:
        first, *others = documents
        more = f", nor can those of {len(others)} more" if others else ""
        super().__init__(
            "torn-document",
            f"the index row of document {first.id!r} cannot be read{more}",
            f"`headwater verify {stream} --repair` mends it",
        )
        self.documents = tuple(documents)


class IndexWriter(Protocol):
    """Writes one index generation. Several writers, in several processes, may work at once: the fence decides.

    Where a document that a call is about cannot be read, it raises TornDocuments. Only a write with the cause `repair`
    replaces such a document: it finds it absent, at the revision that it has.
    """

    async def manifests(self, ids: Sequence[str]) -> dict[str, Manifest]:
        """Return the manifests of those documents that have one. Raise Retry when the index is away."""
        ...

    async def vectors(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the vectors that any living index generation of this stream with this one's model holds for these text
        digests.
        """
        ...

    async def apply(self, writes: Sequence[Write | Mark], positions: Sequence[Position] = ()) -> list[Answer]:
        """Judge each write by `model.fence.admit` and carry out the admitted ones, durably; answer in the order asked.

        At most one write a document. `positions` become the generation's settled positions if every write was answered
        APPLIED or STALE; they never go back. Raise Retry when the index is away: then nothing, a part, or all of it was
        applied, and a repeat of the same call is harmless. Raise Halt when two versions have no order (then nothing was
        applied).
        """
        ...

    async def purge(self, floors: Sequence[Floor]) -> int:
        """Raise the floors (they never go back), collect the fences strictly below them; return how many.

        And remove the rows that belong to no document, or that their document's manifest does not name, as far as they
        cannot be those of a write in flight. Only damage leaves such rows where a write is one transaction.
        """
        ...

    async def generation(self) -> Generation:
        """Return the generation's row as it is now."""
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...


class Hit(NamedTuple):
    """One chunk that a search found. `text` is the document's own piece; `score` is the cosine similarity."""

    manifest: Manifest
    chunk: ChunkRef
    text: str
    score: float


class Stored(NamedTuple):
    """One document as the index holds it: each row by its chunk's (digest, occurrence), those that no manifest names
    too. Rows that cannot be read, or whose vector has another size than the index's, are left out.
    """

    manifest: Manifest
    rows: Mapping[tuple[bytes, int], tuple[str, bytes]]


class IndexReader(Protocol):
    """Reads one index generation. Sees every write that was acknowledged before the call (read-your-writes)."""

    async def search(self, vector: bytes, k: int, where: Mapping[str, Any]) -> list[Hit]:
        """Return the k best chunks of shown documents whose payload holds all of `where`, the best first, ties by
        document and place.

        A hit that its document's manifest does not name is never returned. Raise TornDocuments when a document or a
        vector among those to be ranked cannot be read.
        """
        ...

    def scan(self, ids: Sequence[str] | None = None) -> AsyncIterator[Stored]:
        """Yield every document (or these), fences too, in the order of the ids' bytes. Memory stays bounded by a
        document. Documents that cannot be read are left out, and named at the end: it raises TornDocuments then.
        """
        ...

    async def orphans(self) -> int:
        """Count the rows that belong to no manifest at all, or that their document's manifest does not name. Those of
        documents that cannot be read do not count.
        """
        ...

    async def generation(self) -> Generation:
        """Return the generation's row as it is now."""
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...


class IndexCatalogue(Protocol):
    """The index generations in one physical index."""

    async def generations(self, stream: str) -> list[Generation]:
        """Return the stream's generations by number."""
        ...

    async def create(self, generation: Generation) -> bool:
        """Make a generation; tell whether it is new (False: one with its stream and number exists, nothing was done).
        Durable.
        """
        ...

    async def adopt(self, stream: str, number: int, log_identity: str, log_epoch: int) -> None:
        """Write down that from this log epoch on the generation is built from this log. Durable, idempotent.

        A late call with an earlier epoch than the one that is written down changes nothing.
        """
        ...

    async def keep_probes(self, stream: str, number: int, probes: bytes) -> bytes:
        """Keep what the generation's model makes of the probes (`embedding.witness.encode`), unless some are kept
        already; return those that are kept. Durable.
        """
        ...

    async def probes(self, stream: str, number: int) -> bytes:
        """Return the probes that are kept; empty where none are, and where there is no such generation."""
        ...

    async def close(self) -> None:
        """Let go of what is held. Idempotent."""
        ...
