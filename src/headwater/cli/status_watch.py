"""`headwater status --watch`: the same look again and again, in place on a terminal, as lines of JSON elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.cli.failures import Mistake, coded
from headwater.cli.options import site_of
from headwater.cli.output import flush, printable, write_json
from headwater.cli.status import View, seen
from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError, Misconfigured, Retry
from headwater.settings.failures import ConfigurationErrors

if TYPE_CHECKING:
    from rich.live import Live

    from headwater.wiring import Site

#: A look that takes longer is given up: something is away.
LOOK_S = 10.0


async def watched(config: Path, stream: str | None, every_s: float, *, plain: bool) -> None:
    """Look until interrupted. Never busy for more than half of the time, however long a look takes."""
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
    """Looks through one view as long as that works, and opens another one when it does not."""

    def __init__(self, config: Path, stream: str | None) -> None:
        self._config = config
        self._stream = stream
        self._site: Site | None = None
        self._view: View | None = None
        self._files: list[int | None] = []

    async def look(self) -> dict[str, Any]:
        """Return {"streams": ...}, or {"away", "code"}. Raise Mistake and errors of the configuration."""
        try:
            async with asyncio.timeout(LOOK_S):
                return {"streams": await (await self._opened()).look()}
        except (Mistake, Misconfigured, ConfigurationErrors):
            raise
        except HeadwaterError as error:
            away = error
        except TimeoutError:
            away = Retry("the log", f"no answer within {LOOK_S:g} s")
        await self.close()
        return {"away": str(away), "code": away.code}

    async def close(self) -> None:
        """Let go of what is open. Idempotent."""
        site, self._site, self._view = self._site, None, None
        if site is not None:
            await site.close()

    async def _opened(self) -> View:
        """Return the view; a new one where a file was replaced, since what is open is still the old one."""
        if self._site is not None and _files(self._site) != self._files:
            await self.close()
        if self._site is None or self._view is None:
            self._site = site_of(self._config)
            self._view = View(self._site, self._stream)
            self._files = _files(self._site)
        return self._view


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

        told = [coded(found["away"], found["code"])] if "away" in found else list(seen(found["streams"]))
        lines = [f"{found['time']}  {self._head}", "", *told]
        self.open.update(Text("\n".join(map(printable, lines))), refresh=True)
