"""Progress of a run: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from headwater.clock import Clock
from headwater.errors import HeadwaterError
from headwater.observability.findings import counted
from headwater.observability.signals import Emit, Event

if TYPE_CHECKING:
    from headwater.log.port import LogHistory
    from headwater.wiring import Site

_BAR_EVERY_S = 0.5
_LINE_EVERY_S = 10.0


class Meter:
    """Counts what each stream settled in this run and what its source cannot read, and looks how far it is behind."""

    def __init__(self, site: Site) -> None:
        self._histories: dict[str, LogHistory] = {stream: site.history(stream) for stream in site.streams}
        self.settled: Counter[str] = Counter()
        self.behind: dict[str, int] = {}
        self._skipped: Counter[str] = Counter()
        self._halted: set[str] = set()

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that are counted."""
        return tuple(self._histories)

    def counting(self, emit: Emit) -> Emit:
        """Return what counts events, and hands them on."""

        def count(event: Event, fields: dict[str, Any]) -> None:
            if event is Event.CHANGES_SETTLED:
                self.settled[fields["stream"]] += fields["changes"]
            elif event is Event.SOURCE_SYNCHRONISED:
                self._skipped[fields["stream"]] = fields["skipped"]
            elif event is Event.STREAM_HALTED:
                self._halted.add(fields["stream"])
            emit(event, fields)

        return count

    async def measure(self) -> None:
        """Look at the log. What cannot be read keeps its last number."""
        for stream, history in self._histories.items():
            try:
                marks = await history.watermarks()
            except HeadwaterError:
                continue  # the worker reports what is wrong with the log
            self.behind[stream] = sum(mark.high - mark.committed for mark in marks.values())

    def lines(self) -> list[str]:
        """Say where each stream is. Of one that halted before it settled anything there is nothing to say."""
        return [
            self._line(stream)
            for stream in self.streams
            if stream in self.behind and (self.settled[stream] or stream not in self._halted)
        ]

    def _line(self, stream: str) -> str:
        line = f"{stream}: {counted(self.settled[stream], 'change')} settled, {self.behind[stream]} behind"
        skipped = self._skipped[stream]
        return f"{line}, {counted(skipped, 'file')} skipped" if skipped else line


class Display(Protocol):
    """Where the progress and the log lines of a run are seen."""

    def line(self, text: str) -> None:
        """Write a log line."""
        ...

    async def watch(self, clock: Clock) -> None:
        """Show progress until cancelled."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


def open_display(meter: Meter, *, plain: bool) -> Display:
    """Return bars on a terminal, else lines; `plain` False: only log lines, which a machine reads."""
    if not plain:
        return _Lines(None)
    return _Bars(meter) if sys.stderr.isatty() else _Lines(meter)


class _Lines:
    """A line for each stream now and then, when something moved."""

    def __init__(self, meter: Meter | None) -> None:
        self._meter = meter

    def line(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    async def watch(self, clock: Clock) -> None:
        shown: list[str] = []
        while self._meter is not None:
            await clock.sleep(_LINE_EVERY_S)
            await self._meter.measure()
            lines = self._meter.lines()
            for line in lines:
                if line not in shown:
                    self.line(line)
            shown = lines

    def close(self) -> None:
        return


class _Bars:
    """A bar for each stream at the bottom of the terminal; log lines scroll above it."""

    def __init__(self, meter: Meter) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._meter = meter
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed} settled, {task.fields[behind]} behind", markup=False),
            console=self._console,
            transient=True,
        )
        self._tasks = {stream: self._progress.add_task(stream, total=None, behind="?") for stream in meter.streams}
        self._progress.start()

    def line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    async def watch(self, clock: Clock) -> None:
        while True:
            await self._meter.measure()
            for stream, task in self._tasks.items():
                settled, behind = self._meter.settled[stream], self._meter.behind.get(stream)
                total = None if behind is None else max(1, settled + behind)
                done = total if behind == 0 else settled
                self._progress.update(task, completed=done, total=total, behind="?" if behind is None else behind)
            await clock.sleep(_BAR_EVERY_S)

    def close(self) -> None:
        self._progress.stop()
