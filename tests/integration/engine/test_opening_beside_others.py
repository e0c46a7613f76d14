"""A worker begins while another goes on: what the other does between two of its looks is no reason to halt."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headwater.engine.stream import StreamPorts
from headwater.engine.supervisor import End, StreamWorker
from headwater.log.rules import partition_of
from tests.integration.engine.harness import STREAM, Stream, play

#: How many calls in a row another worker does something after.
BUSY = 3


class Between:
    """Ports after whose Nth call, and some more, another worker does something."""

    def __init__(self, at: int, deed: Callable[[], Awaitable[None]]) -> None:
        self._at = at
        self._deed = deed
        self._calls = 0

    def __call__(self, ports: StreamPorts) -> StreamPorts:
        watched = {name: _Watched(getattr(ports, name), self) for name in ("history", "registry", "catalogue")}
        return msgspec.structs.replace(ports, **watched)

    @property
    def done(self) -> bool:
        return self._calls >= self._at

    async def after_a_call(self) -> None:
        self._calls += 1
        if self._at <= self._calls < self._at + BUSY:
            await self._deed()


class _Watched:
    """A port whose calls are told of; what is read in pieces is not."""

    def __init__(self, inner: object, between: Between) -> None:
        self._inner = inner
        self._between = between

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        async def told(*arguments: object) -> object:
            found = await call(*arguments)
            await self._between.after_a_call()
            return found

        return told if inspect.iscoroutinefunction(call) else call


async def settle_more(stream: Stream) -> None:
    """Another worker settles the next change of each partition; a third notes that this is the end."""
    documents = {partition_of(name.encode(), stream.partitions): name for name in "abcdefgh"}
    assert len(documents) == stream.partitions
    await stream.say(*((name, "B") for name in documents.values()))
    for _ in range(2):
        assert (await stream.once()).end is End.DONE


async def begin_an_epoch(stream: Stream) -> None:
    """Another worker begins a new log epoch, as it does when a person accepts one."""
    registry = stream.log.registry()
    assert await registry.advance(STREAM, msgspec.structs.replace(await registry.read(STREAM), accept_epoch=True))
    assert (await stream.once()).end is End.DONE


async def add_a_partition(stream: Stream) -> None:
    """Another worker begins a new log epoch as there is a new partition, and settles what is in that."""
    if stream.partitions == 1:
        stream.partitions = 2
        stream.log.grow(STREAM, stream.partitions)
    await settle_more(stream)


async def look(worker: StreamWorker) -> None:
    """What `status` and `doctor` do."""
    assert await worker.obstacle() is None


async def work(worker: StreamWorker) -> None:
    ended = await worker.run(once=True)
    assert ended.end is End.DONE, ended.reason


@pytest.mark.parametrize("begin", [look, work])
@pytest.mark.parametrize("deed", [settle_more, begin_an_epoch, add_a_partition])
def test_what_another_worker_does_meanwhile_halts_nobody(
    deed: Callable[[Stream], Awaitable[None]], begin: Callable[[StreamWorker], Awaitable[None]], tmp_path: Path
) -> None:
    async def story(at: int, done: list[bool], stream: Stream) -> None:
        stream.log.marker_life_s = 1000.0
        await stream.say(("a", "A"), ("b", "A"))
        await stream.once()
        between = Between(at, lambda: deed(stream))
        await begin(stream.worker(change=between))
        done.append(between.done)

    done: list[bool] = []
    for at in count(1):
        play("memory", tmp_path, partial(story, at, done))
        if not done[-1]:
            break
    assert len(done) > 4
