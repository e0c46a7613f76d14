"""`headwater run`: the worker of all streams, until everything is settled or until it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater import __version__
from headwater.cli.dead import WAITING
from headwater.cli.failures import Exit, Mistake, coded, exit_code, explain
from headwater.cli.options import Config, config_of, duration, opened, perform
from headwater.cli.output import tell
from headwater.cli.pause import with_way_on
from headwater.cli.places import located
from headwater.cli.probes import Address, Standings, loopback, probed
from headwater.cli.progress import Meter, open_display
from headwater.errors import HeadwaterError, Misconfigured, Retry
from headwater.observability.findings import counted
from headwater.observability.formats import LogFormat
from headwater.observability.signals import Emit, Event

if TYPE_CHECKING:
    from headwater.embedding.sharing.borrower import Borrower
    from headwater.embedding.spending_watch import SpendingWatch
    from headwater.engine.supervisor import Ended, StreamWorker
    from headwater.observability.health import Report
    from headwater.observability.metrics import Metrics
    from headwater.observability.telemetry import Consumed, Telemetry
    from headwater.wiring import Site

#: How long `--once` waits for a dependency that is away.
PATIENCE_S = 600.0
PAUSE_S = 1.0


def run(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="End when all that the log holds now is settled.")] = False,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="DURATION", help="With --once: how long to wait for what is away; 10m."),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="How log lines look.")] = LogFormat.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A log line for each commit too.")] = False,
    probes: Annotated[
        str | None,
        typer.Option(
            "--probes",
            metavar="HOST:PORT",
            envvar="HEADWATER_PROBES",
            help="Answer /livez, /readyz and /metrics here, on loopback; port 0 takes a free one.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Work on all streams; with --once until the log is settled.

    One worker works on a log in SQLite at a time; a second one ends with exit code 4 and names the first. On a Kafka
    any number share the work; a worker that finds no broker at its start ends with exit code 4. SIGTERM and SIGINT let
    what is in flight be settled first; a second one ends the process at once, which is safe too.

    Exit 0 when all is settled or when SIGTERM ended a worker that serves, 1 when a stream is paused, 3 for its
    configuration, 4 when a dependency stays away, 5 when a stream halted; of several streams the worst.

    /metrics is for Prometheus. With the extra `telemetry`, spans and metrics go to an OpenTelemetry collector when the
    standard variables name one: OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER.
    """
    if timeout is not None and not once:
        raise Mistake("--timeout goes with --once; without it the worker waits as long as it takes")
    address = loopback(probes) if probes else None
    timeout_s = PATIENCE_S if timeout is None else duration("--timeout", timeout)
    perform(_run(config_of(context, config), timeout_s if once else None, log_format, verbose, address))


async def _run(
    config: Path, timeout_s: float | None, log_format: LogFormat, verbose: bool, probes: Address | None
) -> int:
    """Work; `timeout_s` is given with --once and only then."""
    from headwater.observability.logs import log_events

    async with opened(config) as site:
        await _prepare(site, timeout_s)
        with ExitStack() as at_end, site.journal.lock():
            meter = Meter(site)
            display = open_display(meter, plain=log_format is LogFormat.TEXT)
            emit = log_events(display.line, log_format, site.clock, verbose=verbose)
            if log_format is LogFormat.TEXT:
                emit = _without_halts(emit)
            standings = Standings(site.streams)
            emit = standings.following(meter.counting(emit))
            metrics = _metrics(site) if probes else None
            if metrics:
                emit = metrics.following(emit)
            if telemetry := _telemetry(site):
                at_end.callback(telemetry.close)
                emit = telemetry.following(emit)
            workers = {stream: site.worker(stream, emit) for stream in site.streams}
            stopper = Stopper(list(workers.values()))
            watching = asyncio.ensure_future(display.watch(site.clock))

            def look() -> Report:
                return standings.report(workers, site.clock.monotonic(), stopping=stopper.stopping)

            answering = probed(probes, look, metrics, site.clock, emit) if probes and metrics else nullcontext()
            try:
                async with answering, _sharing(site, stopper):
                    with stopper:
                        codes = await asyncio.gather(
                            *(
                                standings.until_ended(stream, _work(worker, timeout_s, config))
                                for stream, worker in workers.items()
                            )
                        )
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
                display.close()
        await _briefly(meter.measure())
        if log_format is LogFormat.TEXT:
            for line in meter.lines():
                tell(line)
        await _briefly(_tell_dead(site))
    return stopper.exit_code(codes, once=timeout_s is not None)


@asynccontextmanager
async def _sharing(site: Site, stopper: Stopper) -> AsyncIterator[None]:
    """Share the accounts of services with the other workers of the log meanwhile, and see what all spend."""
    borrowers, watches = site.borrowers(), site.spending_watches()
    for watch in watches:
        with suppress(Retry):
            await watch.look()

    async def share(part: Borrower | SpendingWatch) -> None:
        try:
            await part.run()
        except HeadwaterError as error:
            tell(coded(f"halted: {error}", error.code))
            stopper.halt(exit_code(error))
        except Exception:  # noqa: BLE001 (a defect: shown whole; without a share all would wait for ever, and say nothing)
            traceback.print_exc()
            stopper.halt(Exit.FAILED)

    parts: list[Borrower | SpendingWatch] = [*borrowers, *watches]
    sharing = [asyncio.ensure_future(share(part)) for part in parts]
    try:
        yield
    finally:
        for task in sharing:
            task.cancel()
        await asyncio.gather(*sharing, return_exceptions=True)
        for borrower in borrowers:
            with suppress(HeadwaterError):  # the others take it after a while
                await _briefly(borrower.leave())


async def _prepare(site: Site, timeout_s: float | None) -> None:
    """Make what the log lacks. With --once a log that is away is waited for; a worker that serves ends, so that whoever
    has just set it up sees why, and whatever keeps it running starts it again.
    """
    deadline = site.clock.monotonic() + (timeout_s or 0.0)
    waiting = False
    while True:
        try:
            return await site.journal.prepare()
        except Retry as away:
            if site.clock.monotonic() >= deadline:
                raise
            if not waiting:
                tell(coded(f"waiting: {away}", away.code))
            waiting = True
        await site.clock.sleep(PAUSE_S)


def _metrics(site: Site) -> Metrics:
    from headwater.observability.metrics import Metrics

    return Metrics(site.streams, __version__, site.clock)


def _telemetry(site: Site) -> Telemetry | None:
    """Return what sends to an OpenTelemetry collector, when the environment names one and it can be sent to."""
    from headwater.observability.exporters import asked

    wanted = asked(os.environ)
    for sentence in wanted.unmet:
        tell(f"telemetry: {sentence}")
    if not (wanted.traces or wanted.metrics):
        return None
    try:
        from headwater.observability.telemetry import Telemetry
    except ImportError:
        tell("telemetry: what the OTEL_* variables ask for is not installed: pip install 'headwater[telemetry]'")
        return None
    return Telemetry(wanted, _consumed(site), __version__, tell)


def _consumed(site: Site) -> dict[str, Consumed]:
    """Return where each stream's messages come from, when they come from Kafka."""
    from headwater.log.topics import changes_topic, consumer_group
    from headwater.observability.telemetry import Consumed
    from headwater.settings.kafka import KafkaLog

    kafka = site.settings.log
    if not isinstance(kafka, KafkaLog):
        return {}
    return {
        name: Consumed(
            stream.topic.name if stream.topic else changes_topic(kafka.prefix, name), consumer_group(kafka.prefix, name)
        )
        for name, stream in site.settings.streams.items()
    }


def _without_halts(emit: Emit) -> Emit:
    """Leave out what people are told at the same moment in words of their own, with the place and the next step."""

    def rest(event: Event, fields: dict[str, Any]) -> None:
        if event is not Event.STREAM_HALTED:
            emit(event, fields)

    return rest


async def _work(worker: StreamWorker, timeout_s: float | None, config: Path) -> int:
    """Run one stream to its end; return its exit code. A defect ends this stream and leaves the others alone."""
    try:
        ended = await worker.run(once=timeout_s is not None, timeout_s=timeout_s)
    except Exception:  # noqa: BLE001 (a defect: shown whole, and the other streams go on)
        traceback.print_exc()
        return Exit.FAILED
    return _judge(ended, config, once=timeout_s is not None)


def _judge(ended: Ended, config: Path, *, once: bool) -> int:
    from headwater.engine.supervisor import End

    if ended.end is End.PAUSED:
        tell(f"{ended.stream} is paused: {with_way_on(ended.reason, ended.stream)}")
        # A worker that serves waits while it is paused, so only a signal ended it: that is no failure of its own.
        return Exit.FAILED if once else STOPPED
    if ended.end is End.AWAY:
        tell(coded(f"{ended.stream} gave up: {ended.reason}. Nothing was lost: run it again when that is back", "away"))
        return Exit.DEPENDENCY
    if ended.error is not None:
        _tell_halt(ended.stream, ended.error, config)
        return exit_code(ended.error)
    if ended.end is End.STOPPED:
        if ended.reason:
            tell(f"{ended.stream}: {ended.reason}")
        return STOPPED
    return Exit.OK


def _tell_halt(stream: str, error: HeadwaterError, config: Path) -> None:
    if not isinstance(error, Misconfigured):
        tell(coded(f"{stream} halted: {error}", error.code))
        return
    tell(f"{stream} halted:")
    for line in explain(located(error, config)):  # it begins with its place, so that editors find it
        tell(line)


async def _briefly(look: Coroutine[None, None, None]) -> None:
    """Take a last look at what was done. A log that is away is not waited for."""
    with suppress(TimeoutError):
        await asyncio.wait_for(look, 3.0)


async def _tell_dead(site: Site) -> None:
    for stream in site.streams:
        try:
            count = len(await site.ledger(stream).dead(WAITING))
        except HeadwaterError:
            continue  # the log cannot be read: the stream's own end says so already
        if count:
            shows = "shows it" if count == 1 else "shows them"
            tell(f"{counted(count, 'dead letter')}: `headwater dead list {stream}` {shows}")


#: The code of a stream that was stopped: what it means depends on who stopped it.
STOPPED = -1


class Stopper:
    """Turns signals into a stop: the first is graceful, the second ends the process at once.

    At once is safe: what was in flight is done again by the next worker, without effect.
    """

    def __init__(self, workers: list[StreamWorker]) -> None:
        self._workers = workers
        self._signal: signal.Signals | None = None
        self._halted = 0

    def __enter__(self) -> Stopper:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._caught(number))
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    @property
    def stopping(self) -> bool:
        """Whether a signal came."""
        return self._signal is not None

    def halt(self, code: int) -> None:
        """Stop all workers, and end with this exit code."""
        self._halted = code
        for worker in self._workers:
            worker.stop()

    def _caught(self, number: signal.Signals) -> Callable[[], None]:
        def stop() -> None:
            if self._signal is not None:
                tell("ended at once")
                sys.stdout.flush()
                os._exit(128 + number)
            self._signal = number
            tell("stopping: what is in flight is settled first; once more to end at once")
            for worker in self._workers:
                worker.stop()

        return stop

    def exit_code(self, codes: Sequence[int], *, once: bool) -> int:
        """Return the process's exit code. A worker that serves and is told to end by SIGTERM has done all it should."""
        worst = max(self._halted, *codes)
        if worst > 0 or STOPPED not in codes:
            return worst
        if self._signal is signal.SIGTERM and not once:
            return Exit.OK
        return 128 + (self._signal or signal.SIGINT)
