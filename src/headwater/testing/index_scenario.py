"""What tests of an index are written with: documents of tiny texts, an open index, and the scenario that gets one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec
import numpy as np
import pytest

from headwater.indexes.port import Capabilities, IndexCatalogue, IndexReader, IndexWriter
from headwater.model.change import digest
from headwater.model.document import Fingerprints
from headwater.model.generation import Generation, GenerationState
from headwater.model.manifest import (
    Cap,
    ChunkRef,
    Manifest,
    Mark,
    Outcome,
    Row,
    State,
    Verdict,
    Write,
)
from headwater.model.version import Version

STREAM = "articles"
DIMENSIONS = 8
APPLIED, STALE, CONFLICT, REJECTED = Verdict.APPLIED, Verdict.STALE, Verdict.CONFLICT, Verdict.REJECTED


class Harness(Protocol):
    """What the suite needs to know of an adapter. All that it gives works on one physical index."""

    @property
    def capabilities(self) -> Capabilities: ...

    def catalogue(self) -> IndexCatalogue: ...

    def writer(self, stream: str, number: int) -> IndexWriter: ...

    def reader(self, stream: str, number: int) -> IndexReader: ...

    def restart(self) -> None:
        """Become a new process on what the old one left. Everything given before is closed by then."""
        ...

    def broken(self) -> AbstractContextManager[None]:
        """Within it, storing a manifest fails."""
        ...


class Index(NamedTuple):
    """An open index with one generation."""

    harness: Harness
    catalogue: IndexCatalogue
    writer: IndexWriter
    reader: IndexReader

    async def apply(self, *writes: Write | Mark) -> list[Verdict]:
        """Apply, and return the verdicts alone."""
        return [answer.verdict for answer in await self.writer.apply(writes)]

    async def put(self, write: Write | Mark) -> int:
        """Apply one write that must be admitted; return its revision."""
        (answer,) = await self.writer.apply([write])
        assert answer.verdict is APPLIED, answer
        return answer.revision

    async def base(self, document: str) -> int | None:
        """Return the revision to build on."""
        found = await self.writer.manifests([document])
        return found[document].revision if found else None

    async def texts(self) -> dict[str, set[str]]:
        """Return what a search finds, by document."""
        found: dict[str, set[str]] = {}
        for hit in await self.reader.search(row("anything").vector, 1000, {}):
            found.setdefault(hit.manifest.id, set()).add(hit.text)
        return found

    async def whole(self) -> None:
        """Check that every manifest finds exactly the rows that it names."""
        async for stored in self.reader.scan():
            assert set(stored.rows) == {(chunk.digest, chunk.occurrence) for chunk in stored.manifest.chunks}


def generation(number: int = 1, **changed: Any) -> Generation:
    """Make a generation for tests."""
    made = Generation(
        stream=STREAM,
        number=number,
        state=GenerationState.SERVING,
        recipe=1,
        fingerprints=Fingerprints("text", "chunk", "model", "payload"),
        model="hash",
        dimensions=DIMENSIONS,
        incarnation=f"incarnation {number}",
        log_identity="log",
        log_epoch=1,
        created_us=1,
    )
    return msgspec.structs.replace(made, **changed)


def row(text: str, occurrence: int = 0) -> Row:
    """Make a text's row, with a unit vector that depends on the text alone."""
    values = np.frombuffer(digest(text)[:DIMENSIONS], np.uint8).astype(np.float32) - 127.5
    return Row(digest(text), occurrence, text, (values / np.linalg.norm(values)).astype("<f4").tobytes())


def at(offset: int, *, epoch: int = 1, partition: int = 0, order: int = 0) -> Version:
    """Make a version."""
    return Version(epoch, order, partition, offset)


def upsert(
    document: str, version: Version, texts: Sequence[str], base: int | None, *, keep: Sequence[str] = (), **fields: Any
) -> Write:
    """Make a live document of these texts. Those in `keep` are named, and not brought."""
    rows = tuple(map(row, texts))
    values: dict[str, Any] = {
        "place": version.place,
        "recipe": 1,
        "state": State.LIVE,
        "outcome": Outcome.INDEXED,
        "outcome_us": 7,
        "body_digest": digest("".join(texts)),
        "chunks": tuple(ChunkRef(made.digest, 0, 0, len(made.text), 0) for made in rows),
    }
    manifest = Manifest(id=document, version=version, **(values | fields))
    return Write(manifest=manifest, base=base, rows=tuple(made for made in rows if made.text not in keep))


def removal(document: str, version: Version, state: State = State.DELETED, **fields: Any) -> Write:
    """Make a removal. It has no base."""
    return upsert(document, version, (), None, state=state, outcome=Outcome(state.value), **fields)


def mark(document: str, base: int | None, cap: Cap | None) -> Mark:
    """Make the mark of a dead change, or of its end."""
    return Mark(id=document, recipe=1, base=base, cap=cap, time_us=9)


@asynccontextmanager
async def opened(harness: Harness, made: Generation | None = None) -> AsyncIterator[Index]:
    """Open an index with this generation (made unless it is there)."""
    made = made or generation()
    catalogue = harness.catalogue()
    await catalogue.create(made)
    writer, reader = harness.writer(made.stream, made.number), harness.reader(made.stream, made.number)
    try:
        yield Index(harness, catalogue, writer, reader)
    finally:
        for port in (reader, writer, catalogue):
            await port.close()
            await port.close()  # it is idempotent


Check: TypeAlias = Callable[[Any, Index], Awaitable[None]]
Test: TypeAlias = Callable[[Any, Harness], None]


def scenario(check: Check) -> Test:
    """Make a test of an asynchronous check of an open index."""
    return scenario_of()(check)


def scenario_of(*, needs: str = "", made: Generation | None = None) -> Callable[[Check], Test]:
    """Do as `scenario` with this generation. `needs` names the capability without which the test fails."""

    def decorate(check: Check) -> Test:
        def test(self: Any, harness: Harness) -> None:
            async def run() -> None:
                async with opened(harness, made) as index:
                    await check(self, index)

            asyncio.run(run())

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        test.needs = needs  # type: ignore[attr-defined]  # a mark that the suite reads
        return test

    return decorate


class ContractBase:
    """What turns a capability's gap into an expected failure."""

    @pytest.fixture(autouse=True)
    def gap(self, request: pytest.FixtureRequest, harness: Harness) -> None:
        """Expect the failure of what the adapter says it does not do."""
        needs = getattr(request.function, "needs", "")
        if needs and not getattr(harness.capabilities, needs):
            request.node.add_marker(pytest.mark.xfail(strict=True, reason=f"not {needs}"))
