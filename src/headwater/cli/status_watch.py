"""`headwater status --watch`: the same look again and again, in place on a terminal, as lines of JSON elsewhere."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.cli.failures import Mistake, coded, codes
from headwater.cli.options import site_of
from headwater.cli.output import flush, printable, write_json
from headwater.cli.status import View, seen
from headwater.cli.status_lines import brief
from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError, Misconfigured, Retry
from headwater.settings.failures import ConfigurationErrors

if TYPE_CHECKING:
    from rich.live import Live

    from headwater.wiring import Site

#: A look that takes longer is given up: something is away.
LOOK_S = 10.0


async def watched(config: Path, stream: str | None, every_s: float, *, plain: bool) -> int:
    """Look until interrupted; return the exit code of the signal that ended it."""
    looks = asyncio.ensure_future(_looks(config, stream, every_s, plain=plain))
    caught: list[int] = []

    def end(number: int) -> None:
        caught.append(number)
        looks.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup it outlives its terminal. What a shell starts in the background ends by SIGINT, as `run` does.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        await looks
    except asyncio.CancelledError:
        if not caught:
            raise
    return 128 + caught[0]


async def _looks(config: Path, stream: str | None, every_s: float, *, plain: bool) -> None:
    """Look again and again. Never busy for more than half of the time, however long a look takes."""
    clock = SystemClock()
    screen: _Lines | _Terminal = _Lines() if plain or not sys.stdout.isatty() else _Terminal(config, every_s)
    looking = Looking(config, stream)
    try:
        with screen.open:
            while True:
                began = clock.monotonic()
                found = await looking.look()
                screen.show({"time": _now(clock), **found})
                await clock.sleep(max(every_s, clock.monotonic() - began))
    finally:
        await looking.close()


class Looking:
    """Looks through one view as long as that works, and opens another one when it does not.

    What is wrong with the configuration at first ends it. Later somebody is just writing it: that is told, and the file
    read again.
    """

    def __init__(self, config: Path, stream: str | None) -> None:
        self._config = config
        self._stream = stream
        self._site: Site | None = None
        self._view: View | None = None
        self._written: tuple[int, ...] = ()
        self._files: list[int | None] = []
        self._looked = False

    async def look(self) -> dict[str, Any]:
        """Return {"streams": ...}, or {"away", "code"}. At first raise Mistake and errors of the configuration."""
        try:
            async with asyncio.timeout(LOOK_S):
                found = {"streams": await (await self._opened()).look()}
            self._looked = True
            return found
        except HeadwaterError as error:
            if isinstance(error, Mistake | Misconfigured | ConfigurationErrors) and not self._looked:
                raise
            away = error
        except TimeoutError:
            away = Retry("the log", f"no answer within {LOOK_S:g} s")
        await self.close()
        return {"away": str(away), "code": codes(away)[0]}

    async def close(self) -> None:
        """Let go of what is open. Idempotent."""
        site, self._site, self._view = self._site, None, None
        if site is not None:
            await site.close()

    async def _opened(self) -> View:
        """Return the view; a new one where a file was replaced, since what is open is still the old one."""
        if self._site is not None and (_written(self._config), _files(self._site)) != (self._written, self._files):
            await self.close()
        if self._site is None or self._view is None:
            self._written = _written(self._config)  # before it is read: what is written meanwhile is seen next time
            self._site = site_of(self._config)
            self._view = View(self._site, self._stream)
            self._files = _files(self._site)
        return self._view


def _written(config: Path) -> tuple[int, ...]:
    """Return what changes when the configuration is written, in place or by another file in its place."""
    try:
        found = config.stat()
    except OSError:  # what is wrong with it is told when it is read
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _files(site: Site) -> list[int | None]:
    """Return what tells whether the files of the log and the indexes are still the same ones."""
    stores = [site.settings.log, *(it.index for it in site.settings.streams.values())]
    paths = [path for it in stores if (path := getattr(it, "path", None))]
    return [path.stat().st_ino if path.exists() else None for path in paths]


def _now(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.now_us() / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class _Lines:
    """A line of JSON for each look."""

    open: AbstractContextManager[object] = nullcontext()

    def show(self, found: Mapping[str, Any]) -> None:
        write_json(found)
        flush()


class _Terminal:
    """The whole screen, as long as it is watched; the terminal is left as it was."""

    def __init__(self, config: Path, every_s: float) -> None:
        from rich.live import Live

        self._head = f"{config}, every {every_s:g} s; Ctrl-C ends"
        self.open: Live = Live(screen=True, auto_refresh=False)

    def show(self, found: Mapping[str, Any]) -> None:
        from rich.text import Text

        width, height = self.open.console.size
        head = f"{found['time']}  {self._head}"
        told = coded(found["away"], found["code"]).splitlines() if "away" in found else list(seen(found["streams"]))
        text = Text("\n".join(map(printable, [head, "", *told])))
        if len(text.wrap(self.open.console, max(1, width))) > height and "streams" in found:
            lines = [head, *(brief(name, shape) for name, shape in found["streams"].items())]
            text = Text("\n".join(map(printable, fitting(lines, height))), no_wrap=True, overflow="ellipsis")
        self.open.update(text, refresh=True)


def fitting(lines: list[str], height: int) -> list[str]:
    """Return a head and a line for each stream; where they are higher than the screen, the last says how many more."""
    if len(lines) <= height:
        return lines
    kept = lines[: max(1, height - 1)]
    return [*kept, f"{len(lines) - len(kept)} more: `headwater status NAME`"][-height or None :]
