"""`run --probes`: what the worker's loop says of itself several times a second, and its metrics, for whoever asks."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from headwater.cli.failures import Mistake
from headwater.cli.pause import says_way_on
from headwater.observability.health import Answer, Report, Standing, answer
from headwater.observability.signals import Emit, Event

if TYPE_CHECKING:
    from headwater.clock import Clock
    from headwater.engine.supervisor import StreamWorker
    from headwater.observability.metrics import Metrics

T = TypeVar("T")

Address = tuple[str, int]

_EVERY_S = 0.2


def loopback(text: str) -> Address:
    """Read `HOST:PORT`. Only loopback: the answers name streams, and whoever runs the worker can ask from beside it."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise Mistake(f"--probes takes an address such as 127.0.0.1:8081, not {text!r}") from None
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 65536):
        raise Mistake(f"--probes takes an address with a port such as 127.0.0.1:8081, not {text!r}")
    if not address.is_loopback:
        raise Mistake(
            f"--probes listens on loopback only, such as 127.0.0.1:{port}, not on {host}: "
            "in a container let the probe run inside, beside the worker"
        )
    return str(address), int(port)


class Standings:
    """Where each stream stands, as its events tell."""

    def __init__(self, streams: Iterable[str]) -> None:
        self._standings = dict.fromkeys(streams, Standing.STARTING)

    def following(self, emit: Emit) -> Emit:
        """Return what follows events, and hands them on."""

        def follow(event: Event, fields: dict[str, Any]) -> None:
            if event is Event.STREAM_STARTED:
                self._standings[fields["stream"]] = Standing.RUNNING
            elif event is Event.STREAM_HALTED:
                self._standings[fields["stream"]] = Standing.HALTED
            elif event is Event.STREAM_PAUSED:
                itself = says_way_on(fields["reason"], fields["stream"])
                self._standings[fields["stream"]] = Standing.TRIPPED if itself else Standing.PAUSED
            emit(event, fields)

        return follow

    async def until_ended(self, stream: str, work: Awaitable[T]) -> T:
        """Await a stream's work; when it is over, for whatever reason, the stream has ended."""
        try:
            return await work
        finally:
            if self._standings[stream] is not Standing.HALTED:
                self._standings[stream] = Standing.ENDED

    def report(self, workers: dict[str, StreamWorker], now_s: float, *, stopping: bool) -> Report:
        """Return where all stand now. What is about to run, or runs, waits while a dependency of it is away."""
        away = {stream: tuple(worker.patience.outages) for stream, worker in workers.items()}
        streams = {
            stream: Standing.WAITING if away[stream] and standing in (Standing.STARTING, Standing.RUNNING) else standing
            for stream, standing in self._standings.items()
        }
        return Report(now_s, streams, stopping, away)


@asynccontextmanager
async def probed(
    address: Address, look: Callable[[], Report], metrics: Metrics, clock: Clock, emit: Emit
) -> AsyncIterator[None]:
    """Answer probes at an address. `look` is called on this loop, several times a second."""
    from headwater.observability.probes import Probes, listen

    last = look()

    async def beat() -> None:
        nonlocal last
        while True:
            last = look()
            await clock.sleep(_EVERY_S)

    def ask(path: str) -> Answer | None:
        if path == "/metrics":
            return Answer(HTTPStatus.OK, metrics.text(last))
        return answer(path, last, clock.monotonic())

    with Probes(listen(*address), ask) as probes:
        emit(Event.PROBES_LISTENING, {"address": probes.address})
        beating = asyncio.ensure_future(beat())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
