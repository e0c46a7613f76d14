"""Hearing from the kernel that something in a folder may have changed, so that one need not wait to look again.

A hint only: events get lost, and those of another machine's writes to a shared file system never come.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from headwater.clock import Clock

#: Events within so long are told of together; so often the thread looks whether it shall end.
GATHER_MS = 100
_STEP_MS = 50
_TURN_MS = 200
#: How long a watch that failed is not tried again.
REST_S = 60.0

#: Told the path of what came, changed or went, below the root; and whether it went. Says whether that matters.
Matters = Callable[[str, bool], bool]


class FolderWatch:
    """Watches the folders that it is told of, each by itself: links are not followed, and what is left out costs
    nothing.

    What is heard becomes one flag at once: however much happens, nothing piles up. A watch that cannot be had, because
    the kernel has no more of them, is said once for each cause; then nothing is heard.
    """

    def __init__(self, root: Path, clock: Clock, say: Callable[[str], None]) -> None:
        self._root = root
        self._clock = clock
        self._say = say
        self._news = asyncio.Event()
        self._wanted = False
        self._folders: Mapping[str, int] = {}
        self._matters: Matters = lambda _path, _went: False
        self._covered: Mapping[str, int] = {}
        self._current: _Thread | None = None
        self._failed_s: float | None = None
        self._told = ""

    async def changed(self) -> None:
        """Return when something was heard since this last returned. Nothing is watched before this is first called."""
        if not self._wanted:
            self._wanted = True
            self._arm()
        await self._news.wait()
        self._news.clear()

    def cover(self, folders: Mapping[str, int], matters: Matters) -> None:
        """Watch these folders, given with their inodes by the path below the root, and no others.

        When they are not those that were watched, what happened in them meanwhile was not heard: it counts as news.
        """
        self._folders, self._matters = folders, matters
        if self._wanted:
            self._arm()

    def _arm(self) -> None:
        folders, matters = self._folders, self._matters
        if folders == self._covered:
            return
        if self._failed_s is not None and self._clock.monotonic() - self._failed_s < REST_S:
            return
        self._covered = folders
        loop = asyncio.get_running_loop()

        def heard(path: str, went: bool) -> bool:  # noqa: FBT001 (called by position, as `Matters` says)
            name = path[len(str(self._root)) + 1 :]
            if went and (not name or f"{name}/" in folders):
                loop.call_soon_threadsafe(self._uncover)
            return matters(name, went)

        def news() -> None:
            loop.call_soon_threadsafe(self._news.set)

        def ended(thread: _Thread, cause: str | None) -> None:
            loop.call_soon_threadsafe(self._ended, thread, cause)

        before = self._current
        if before is not None:
            before.stop.set()
        self._current = _Thread([self._root / name for name in folders], heard, news, ended, before)
        self._current.start()

    async def close(self) -> None:
        """Stop watching."""
        if self._current is not None:
            current, self._current = self._current, None
            current.stop.set()
            await asyncio.to_thread(current.join)

    def _uncover(self) -> None:
        """One of the folders went: what comes to its place is another, and the same one may come back unwatched."""
        self._covered = {}

    def _ended(self, thread: _Thread, cause: str | None) -> None:
        """A watch ended by itself: because a folder went, or for a cause that is to be told."""
        if thread is not self._current:
            return
        self._current = None
        self._uncover()
        if cause is None:
            self._news.set()
            return
        self._failed_s = self._clock.monotonic()
        if cause != self._told:
            self._told = cause
            self._say(cause)


class _Thread(threading.Thread):
    """Listens to the kernel on a thread of its own, until `stop` is set."""

    def __init__(
        self,
        paths: list[Path],
        heard: Callable[[str, bool], bool],
        news: Callable[[], None],
        ended: Callable[[_Thread, str | None], None],
        before: threading.Thread | None,
    ) -> None:
        super().__init__(name="folder-watch", daemon=True)
        self.stop = threading.Event()
        self._paths = paths
        self._heard = heard
        self._news = news
        self._ended = ended
        self._before = before

    def run(self) -> None:
        if self._before is not None:
            self._before.join()
        try:
            self._listen()
        except FileNotFoundError:
            self._ended(self, None)
        except UnicodeEncodeError:
            self._ended(self, "the path of the folder is not UTF-8, and no other can be watched")
        except (OSError, RuntimeError) as error:
            self._ended(self, str(error))

    def _listen(self) -> None:
        from watchfiles import Change, watch  # noqa: PLC0415 (takes long, and not everybody watches)

        events = watch(
            *self._paths,
            watch_filter=lambda change, path: self._heard(path, change is Change.deleted),
            debounce=GATHER_MS,
            step=_STEP_MS,
            stop_event=self.stop,
            rust_timeout=_TURN_MS,
            yield_on_timeout=True,
            force_polling=False,
            recursive=False,
        )
        armed = False
        for some in events:
            if some or not armed:
                self._news()
            armed = True
