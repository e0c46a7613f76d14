"""`python -m tests.drills.worker SEED RATE ARGUMENTS...`: the command line, with an index that does harm.

SIGUSR1 asks the process to stop itself (SIGSTOP) right before its next write, be it to the index or, with all its own
checks behind it, to the brokers: woken after its session, it begins by writing, with no chance to hear first that its
partitions are another's. With probability RATE a write to the index is applied and then reported as timed out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from typing import Any
from unittest import mock

from confluent_kafka import Producer
from msgspec.structs import replace

import headwater.log.kafka_settling
from headwater.cli import main
from headwater.engine.stream import StreamPorts
from headwater.errors import Retry
from headwater.indexes.port import IndexWriter
from headwater.model.generation import Floor, Generation, Position
from headwater.model.manifest import Answer, Manifest, Mark, Write
from headwater.observability.signals import Emit, unheard
from headwater.wiring import Site

STOPPING, TIMED_OUT = "drill.stopping", "drill.timed-out"


class Harm:
    """When to do what."""

    def __init__(self, seed: int, rate: float) -> None:
        self._random = random.Random(seed)
        self._rate = rate
        self._before: str | None = None
        signal.signal(signal.SIGUSR1, self._asked)

    def _asked(self, _number: int, _frame: object) -> None:
        self._before = self._random.choice(("apply", "commit", "commit"))

    def stop(self, before: str) -> None:
        """Stop here if that was asked for."""
        if self._before == before:
            self._before = None
            tell(STOPPING, before=before)
            os.kill(os.getpid(), signal.SIGSTOP)

    def times_out(self) -> bool:
        return self._random.random() < self._rate


def tell(event: str, **fields: object) -> None:
    """Write a line among the worker's own events."""
    os.write(2, json.dumps({"event": event, **fields}).encode() + b"\n")


class HarmedIndexWriter:
    """An index writer before which its process may stop, and which may apply and then time out."""

    def __init__(self, inner: IndexWriter, harm: Harm) -> None:
        self._inner = inner
        self._harm = harm

    async def apply(self, writes: Sequence[Write | Mark], positions: Sequence[Position] = ()) -> list[Answer]:
        if writes:
            self._harm.stop("apply")
        answers = await self._inner.apply(writes, positions)
        if self._harm.times_out():
            tell(TIMED_OUT)
            raise Retry("index", "timed out after the work was done")
        return answers

    async def manifests(self, ids: Sequence[str]) -> dict[str, Manifest]:
        return await self._inner.manifests(ids)

    async def vectors(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        return await self._inner.vectors(digests)

    async def purge(self, floors: Sequence[Floor]) -> int:
        return await self._inner.purge(floors)

    async def generation(self) -> Generation:
        return await self._inner.generation()

    async def close(self) -> None:
        await self._inner.close()


def harmed_producer(harm: Harm) -> type[Producer]:
    """The client's producer; its process may stop before a settlement's transaction, or after its plain writes."""

    class HarmedProducer(Producer):
        def begin_transaction(self, *arguments: Any, **options: Any) -> None:
            harm.stop("commit")
            super().begin_transaction(*arguments, **options)

        def flush(self, *arguments: Any, **options: Any) -> int:
            left = super().flush(*arguments, **options)
            harm.stop("commit")
            return left

    return HarmedProducer


def harmed(harm: Harm) -> None:
    """Run the command line; every worker's ports are in their wrappers."""
    ports = Site.ports

    def wrapped(site: Site, stream: str, emit: Emit = unheard) -> StreamPorts:
        made = ports(site, stream, emit)
        return replace(made, writer=HarmedIndexWriter(made.writer, harm))

    producer = mock.patch.object(headwater.log.kafka_settling, "Producer", harmed_producer(harm))
    with mock.patch.object(Site, "ports", wrapped), producer:
        main()


if __name__ == "__main__":
    _, seed, rate, *rest = sys.argv
    sys.argv = ["headwater", *rest]
    harmed(Harm(int(seed), float(rate)))
