"""A folder whose files' names hold what is redacted, and a log that does not take a delete."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from headwater.errors import Reject
from headwater.log.port import LogWriter, SourcePosition
from headwater.log.redaction import REFUSED
from headwater.model.change import Outgoing
from headwater.recipe.redact.redactor import Redactor
from headwater.sources.folder import FolderSource
from headwater.sources.port import Pass

from .test_folder import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_was_read_before_it_was_redacted_can_be_renamed_and_deleted(bench: Bench) -> None:
    bob = bench.put("to/bob@example.org.txt", "hello")
    eve = bench.put("to/eve@example.org.txt", "good bye")
    assert bench.synchronise() == Pass(2, 0)
    bench.redactor = Redactor(["email"])
    assert bench.synchronise() == Pass(0, 0, (("to/[email].txt", REFUSED),) * 2)
    bob.rename(bench.root / "bob.txt")
    assert bench.synchronise() == Pass(1, 1, (("to/[email].txt", REFUSED),))
    eve.unlink()
    assert bench.synchronise() == Pass(0, 1)
    assert bench.synchronise() == Pass(0, 0)


class Refusing:
    """A writer that takes no delete, until it does."""

    def __init__(self, inner: LogWriter) -> None:
        self.inner, self.refuses = inner, True

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        for index, change in enumerate(changes):
            if self.refuses and b'"delete"' in (change.value or b""):
                raise Reject("no deletes today", index)
        await self.inner.append(changes, position)

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        return await self.inner.position(source)

    async def close(self) -> None:
        await self.inner.close()


def test_a_delete_that_the_log_does_not_take_is_told_and_tried_again(bench: Bench) -> None:
    bench.put("a.txt", "one")
    bench.put("b.txt", "two")
    assert bench.synchronise() == Pass(2, 0)
    (bench.root / "a.txt").unlink()
    bench.put("c.txt", "three")
    writer = Refusing(bench.log.writer("s", 1))
    source = FolderSource(bench.root, bench.choice, writer, bench.clock, bench.reader)

    async def scenario() -> None:
        for upserts in (1, 0):
            assert await source.synchronise() == Pass(upserts, 0, (("a.txt", "no deletes today"),))
        writer.refuses = False
        assert await source.synchronise() == Pass(0, 1)

    asyncio.run(scenario())
