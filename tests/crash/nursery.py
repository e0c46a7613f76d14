"""`python -m tests.crash.nursery CONFIG`: gives birth to workers, each a process of its own, without its start-up.

Everything is imported once; each line on stdin (JSON: `point` or null, `nth`) forks a worker, whose number is printed.
When it has ended, the last point that it passed and its exit status are printed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from msgspec.structs import replace

import headwater.embedding.providers.hash
import headwater.engine.supervisor
import headwater.indexes.sqlite
import headwater.log.codecs.json
import headwater.recipe.standard  # noqa: F401 (imported once, so that no fork has to)
from headwater.clock import SystemDice
from headwater.documents.reader import SandboxedReader
from headwater.embedding.courier import Courier
from headwater.engine.loop import Limits
from headwater.engine.stream import StreamPorts
from headwater.engine.supervisor import End, StreamWorker
from headwater.observability.signals import Event
from headwater.sources.folder import FolderSource
from headwater.sources.selecting import Choice
from headwater.testing.crashing import (
    CrashingEmbedder,
    CrashingIndexWriter,
    CrashingReader,
    CrashingWriter,
    Death,
    Point,
    passing,
    statements,
)
from headwater.wiring import Site, open_site
from tests.crash.places import STREAM

#: Small, so that a worker passes every point often.
LIMITS = Limits(poll_records=20, poll_wait_s=0.1, work_documents=4)


def crashing(site: Site, death: Death) -> StreamPorts:
    """The stream's ports, as the product wires them, each in its wrapper."""
    ports = site.ports(STREAM)
    folder = site.settings.streams[STREAM].source
    assert folder is not None
    writer = CrashingWriter(site.writer(STREAM), death)
    return replace(
        ports,
        open_reader=lambda: CrashingReader(ports.open_reader(), death),
        writer=CrashingIndexWriter(ports.writer, death),
        courier=Courier(CrashingEmbedder(site.embedder(STREAM), death), site.clock, SystemDice()),
        source=FolderSource(folder.folder, Choice(folder.include), writer, site.clock, SandboxedReader()),
    )


async def work(config: Path, point: Point | None, nth: int, told: int) -> int:
    """Be a worker until SIGTERM, or until death. `told` is a descriptor: last words, and a line when it has begun."""

    def tell(line: str) -> None:
        os.write(told, f"{line}\n".encode())

    def emit(event: Event, fields: dict[str, object]) -> None:
        if event is Event.STREAM_STARTED:
            tell("started")
        elif event in (Event.STREAM_HALTED, Event.OUTAGE_BEGAN, Event.CHANGE_DEAD, Event.STREAM_PAUSED):
            tell(f"{event} {fields}")

    death = Death(point, nth, lambda reached: tell(f"died {reached}"))
    with statements(passing(death)):
        site = open_site(config, {})
        with site.journal.lock():
            worker = StreamWorker(crashing(site, death), replace(site.machine(emit), limits=LIMITS))
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
            ended = await worker.run(once=False)
            await site.close()
    return 0 if ended.end is End.STOPPED else 9


def main(config: Path) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os.close(0)
            code = asyncio.run(work(config, order["point"] and Point(order["point"]), order["nth"], 1))
            os._exit(code)
        print(f"born {child}", flush=True)
        _, status = os.waitpid(child, 0)
        print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
