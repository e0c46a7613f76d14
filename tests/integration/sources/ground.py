"""A real folder, a log, and a folder source between them; and what must be true of the log in the end.

The folder is told apart by `os.walk` and `os.lstat` alone: nothing here asks the code under test what is in it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from headwater.clock import SystemClock, SystemIds
from headwater.documents.port import Extracted
from headwater.errors import Reject
from headwater.log.codecs.json import decode
from headwater.log.memory import MemoryLog
from headwater.log.port import LogWriter, SourcePosition
from headwater.model.change import Outgoing, Undecodable
from headwater.model.registry import Epoch
from headwater.sources import folder as folder_module
from headwater.sources import scan
from headwater.sources.folder import FolderSource
from headwater.sources.port import Pass
from headwater.sources.reading import Reading
from headwater.sources.scan import Found, Walk
from headwater.sources.selecting import Choice
from tests.integration.documents.memory import MemoryReader, outcome

STREAM = "s"
IGNORE = ".headwaterignore"
SECRET = "sec"
#: Ahead of the file system's clock: what was written just now is at rest, but too young to be trusted by its stamp.
YOUNG_S = 0.7
#: And so far that it is trusted.
OLD_S = 3600.0

#: Does something to the folder. What cannot be done, because something stands in the way, is not.
Deed = Callable[["Ground"], None]


class Killed(BaseException):
    """The process ends here: nothing catches it."""


class Ticks(SystemClock):
    """A file system's coarse clock, and ours, which is ahead of it.

    Whatever happens between two ticks bears one time stamp. So it is with real ones, of 4 ms or 2 s; but here it ticks
    when it is told to, so that a history is the same each time.
    """

    def __init__(self, probe: Path) -> None:
        self.ahead_s = OLD_S
        self._probe = probe
        self._probe.touch()
        self._ticks = [self._probe.stat().st_ctime_ns]

    def now_us(self) -> int:
        return self._ticks[-1] // 1000 + round(self.ahead_s * 1e6)

    def tick(self) -> None:
        """Begin a new one: all that happens from here on bears another time stamp."""
        # Something may have happened since the last one was begun, as late as now.
        self._probe.touch()
        before = self._probe.stat().st_ctime_ns
        while self._probe.stat().st_ctime_ns == before:
            time.sleep(0.001)
            self._probe.touch()
        self._ticks.append(self._probe.stat().st_ctime_ns)

    def stamp(self, real_ns: int) -> int:
        """The time stamp of what happened then. What a program made up stays."""
        began = bisect_right(self._ticks, real_ns)
        return self._ticks[began - 1] if began else real_ns


class Fragile:
    """A writer that dies at its nth append: before it, or after it."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self.left: int | None = None
        self.before = False

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        dies = self.left == 0
        if self.left is not None:
            self.left -= 1
        if dies and self.before:
            raise Killed
        await self._writer.append(changes, position)
        if dies:
            raise Killed

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        return await self._writer.position(source)

    async def close(self) -> None:
        await self._writer.close()


class Ground:
    """The folder, the log that outlives each process, and the process if one runs."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="headwater-folder-"))
        self.root = self.home / "root"
        self.outside = self.home / "outside"
        for folder in (self.root, self.outside / "d"):
            folder.mkdir(parents=True)
        for name in ("a.txt", "d/a.txt", "d/b.txt"):
            (self.outside / name).write_text(SECRET)
        self.clock = Ticks(self.home / "probe")
        self.log = MemoryLog(self.clock, SystemIds())
        self._source: FolderSource | None = None
        self._writer = Fragile(self.log.writer(STREAM, 1))
        #: Deeds that wait for their moment in a pass: how many folders it has looked into by then, and files read.
        self._during: list[tuple[int, Deed]] = []
        self._passed = 0
        self._trusted = False
        self._eager = False
        # Many appends a pass, so that it can be killed between them.
        self._patches: list[Any] = [
            mock.patch.object(folder_module, "BATCH_FILES", 2),
            mock.patch.object(scan, "Found", self._found),
            mock.patch.object(scan, "_same", self._same(scan._same)),
            mock.patch.object(scan.Walk, "_enter", self._entered(scan.Walk._enter)),
            mock.patch.object(folder_module, "read_file", self._reading(scan.read_file)),
            # Documents are read when a pass takes them, and not whenever a thread comes to it.
            mock.patch.object(Reading, "gather"),
        ]
        for patch in self._patches:
            patch.start()

    def close(self) -> None:
        """Take all of it away."""
        for patch in self._patches:
            patch.stop()
        shutil.rmtree(self.home)

    # --- what happens

    def do(self, deed: Deed) -> None:
        """Do something to the folder, now."""
        if self._trusted:
            # What is trusted by its stamp is older than a tick of the file system's clock; here the tick is waited for.
            self.clock.tick()
            self._trusted = False
        with suppress(OSError):
            deed(self)

    def end(self) -> None:
        """End the process. What it remembered is gone."""
        self._source = None

    def look(
        self, *, young: bool, during: Sequence[tuple[int, Deed]] = (), dies: tuple[int, bool] | None = None
    ) -> None:
        """Make a pass, begin a process for it if none runs. `dies`: at which append, and whether before it."""
        self._during, self._passed = sorted(during, key=lambda it: it[0]), 0
        self._writer.left, self._writer.before = dies or (None, False)
        self.clock.ahead_s = YOUNG_S if young else OLD_S
        try:
            self._pass()
        except Killed:
            self.end()
        self._trusted |= not young

    def settle(self) -> None:
        """Pass until there is nothing left to do."""
        self._during, self._writer.left, self.clock.ahead_s = [], None, OLD_S
        for _ in range(8):
            if self._pass() == Pass(0, 0):
                return
        raise AssertionError("it never came to rest")

    def _pass(self) -> Pass:
        if self._source is None:
            choice = Choice(("**/*.txt",), (), (IGNORE,))
            # One process's reader reads what it is asked at once, the next one's when its answers are fetched.
            self._eager = not self._eager
            reader = MemoryReader(eager=self._eager)
            self._source = FolderSource(self.root, choice, self._writer, self.clock, reader)
        return asyncio.run(self._source.synchronise())

    def _entered(self, whole: Callable[[Walk, str], list[str]]) -> Callable[[Walk, str], list[str]]:
        def enter(walk: Walk, folder: str) -> list[str]:
            below = whole(walk, folder)
            self._moment()
            return below

        return enter

    def _reading(self, whole: Callable[[Path, Found], bytes | None]) -> Callable[[Path, Found], bytes | None]:
        def read(root: Path, found: Found) -> bytes | None:
            done = whole(root, found)
            self._moment()
            return done

        return read

    def _moment(self) -> None:
        self._passed += 1
        while self._during and self._during[0][0] < self._passed:
            _, deed = self._during.pop(0)
            self._trusted |= self.clock.ahead_s == OLD_S
            self.do(deed)

    def _found(self, name: str, size: int, mtime_ns: int, ctime_ns: int, inode: int) -> Found:
        return Found(name, size, self.clock.stamp(mtime_ns), self.clock.stamp(ctime_ns), inode)

    def _same(self, whole: Callable[[Any, Found], bool]) -> Callable[[Any, Found], bool]:
        def same(state: os.stat_result, found: Found) -> bool:
            stamps = {name: self.clock.stamp(getattr(state, name)) for name in ("st_mtime_ns", "st_ctime_ns")}
            kept = {name: getattr(state, name) for name in ("st_mode", "st_size", "st_ino")}
            return whole(SimpleNamespace(**stamps, **kept), found)

        return same

    # --- what must be

    def folder(self) -> dict[str, str]:
        """What the folder holds, by our own look: regular files called *.txt that no ignore file above them names.

        Of what cannot be read, why.
        """
        found = {}
        names_of: dict[str, set[str]] = {}
        for folder, below, names in os.walk(self.root):
            ignored = set(names_of.get(str(Path(folder).parent), set()))
            if IGNORE in names:
                ignored |= set(Path(folder, IGNORE).read_text().split())
            names_of[folder] = ignored
            below[:] = [it for it in below if it not in ignored]
            for name in set(names) - ignored:
                path = Path(folder, name)
                if name.endswith(".txt") and stat.S_ISREG(path.lstat().st_mode):
                    found[path.relative_to(self.root).as_posix()] = _text(path.read_bytes())
        return found

    def logged(self) -> dict[str, str]:
        """What whoever reads the log to its end comes to know."""

        async def read() -> dict[str, str]:
            known: dict[str, str] = {}
            async for record in self.log.history(STREAM, "g", 1).read(0, 0, 1 << 40):
                change = decode(record, (Epoch(1, "x", 1),))
                if isinstance(change, Undecodable):
                    known[change.id] = f"unreadable: {change.reason}"
                elif change.body is None:
                    known.pop(change.id, None)
                else:
                    assert change.body["text"] != SECRET, "what lies outside the folder was read"
                    known[change.id] = change.body["text"]
            return known

        return asyncio.run(read())

    def check(self) -> None:
        """Let it come to rest, and compare."""
        self.settle()
        assert self.logged() == self.folder()


def _text(data: bytes) -> str:
    if not data.startswith(b"\0"):
        return data.decode()
    found = outcome(data)
    assert isinstance(found, Extracted | Reject)
    return found.text if isinstance(found, Extracted) else f"unreadable: {found.reason}"
