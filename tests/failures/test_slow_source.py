"""A source that is slow to read: a worker that works once settles meanwhile what that has appended."""

from __future__ import annotations

import msgspec

from headwater.engine.supervisor import End, StreamWorker
from headwater.indexes.port import IndexReader
from headwater.sources.port import Pass, Source
from headwater.testing.simulated import simulate
from tests.failures.faults import Fault
from tests.failures.workload import FILES
from tests.failures.world import Memory, World

#: So often it is looked at before it says that nothing is left to read.
PASSES = 20


class Slow:
    """A source with a document that is not read before all others are in the index."""

    def __init__(self, source: Source, index: IndexReader) -> None:
        self._source = source
        self._index = index
        self._passes = 0
        self.shown: set[str] = set()

    async def synchronise(self) -> Pass:
        self._passes += 1
        done = await self._source.synchronise()
        self.shown = {stored.manifest.id async for stored in self._index.scan()} & FILES.keys()
        return done._replace(reading=int(self.shown != FILES.keys() and self._passes < PASSES))

    async def changed(self) -> None:
        return

    async def close(self) -> None:
        await self._source.close()


def test_what_was_read_is_settled_before_what_is_slow_to_read() -> None:
    async def go() -> tuple[End, set[str], list[str]]:
        world = World(Memory())
        await world.first_run()
        ports, _ = world.ports(Fault(), True)
        assert ports.source is not None
        slow = Slow(ports.source, world.adapters.reader())
        ended = await StreamWorker(msgspec.structs.replace(ports, source=slow), world.machine()).run(once=True)
        return ended.end, slow.shown, await world.violations()

    assert simulate(go) == (End.DONE, set(FILES), [])
