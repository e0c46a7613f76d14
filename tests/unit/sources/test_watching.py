"""A folder that is watched, by the machine's own means: what is heard, what is not, and what becomes of failures."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from headwater.clock import SystemClock
from headwater.sources.scan import Walk
from headwater.sources.selecting import Choice
from headwater.sources.watching import REST_S, FolderWatch

CHOICE = Choice(("**/*.txt",), ("out/",), (".headwaterignore",))
LONG_S = 20.0
#: What is not heard within so long is taken for never: several times what hearing takes.
NEVER_S = 1.0


class Ground:
    """A folder, its watch, and what the watch said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: list[str] = []
        self.clock = SystemClock()
        self.watch = FolderWatch(root, self.clock, self.said.append)

    def cover(self) -> None:
        walk = Walk(self.root, CHOICE).run()
        self.watch.cover(walk.folders, walk.selection.matters)

    async def heard(self, within_s: float = LONG_S) -> bool:
        try:
            await asyncio.wait_for(self.watch.changed(), within_s)
        except TimeoutError:
            return False
        return True

    async def hears(self, act: Callable[[], object]) -> None:
        """Act; it must be heard. Then what else it made itself heard by is let go by."""
        act()
        assert await self.heard()
        await self.quiet()

    async def quiet(self) -> None:
        while await self.heard(0.3):
            pass


@asynccontextmanager
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    made = Ground(tmp_path / "root")
    for folder in ("in/deep", "out"):
        (made.root / folder).mkdir(parents=True)
    try:
        made.cover()
        assert await made.heard(), "what happened before it listened counts as news"
        yield made
    finally:
        await made.watch.close()


def test_what_may_matter_is_heard_and_what_cannot_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ground(tmp_path) as it:
            file = it.root / "in/deep/a.txt"
            await it.hears(lambda: file.write_text("one"))
            await it.hears(lambda: file.write_text("two"))
            await it.hears(lambda: file.rename(it.root / "b.txt"))
            await it.hears((it.root / "b.txt").unlink)
            await it.hears((it.root / "in/.headwaterignore").touch)
            await it.hears((it.root / "new").mkdir)
            (it.root / "headwater.db-wal").write_text("our own writes must not wake us")
            (it.root / "out/a.txt").write_text("left out")
            assert not await it.heard(NEVER_S)
            assert not it.said

    asyncio.run(scenario())


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()

    async def scenario() -> None:
        async with ground(tmp_path) as it:
            await it.hears(lambda: (it.root / "link").symlink_to(outside))
            await it.hears((it.root / "new").mkdir)
            it.cover()  # anew, because of the new folder: now with the link there
            await it.quiet()
            (outside / "a.txt").write_text("one")
            assert not await it.heard(NEVER_S)

    asyncio.run(scenario())


def test_a_new_folder_is_watched_and_one_that_came_back_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ground(tmp_path) as it:
            await it.hears((it.root / "new").mkdir)
            it.cover()
            assert await it.heard(), "what happened in it before it was watched counts as news"
            await it.hears((it.root / "new/a.txt").touch)
            await it.hears(lambda: (it.root / "in").rename(tmp_path / "away"))
            (tmp_path / "away").rename(it.root / "in")
            await it.quiet()
            it.cover()
            assert await it.heard()
            await it.hears((it.root / "in/a.txt").touch)

    asyncio.run(scenario())


def test_a_root_that_is_swapped_for_another_is_watched(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ground(tmp_path) as it:
            it.root.rename(tmp_path / "old")
            it.root.mkdir()
            await it.quiet()
            it.cover()
            assert await it.heard()
            await it.hears((it.root / "a.txt").touch)

    asyncio.run(scenario())


def test_a_folder_that_goes_before_it_is_watched_is_no_failure(tmp_path: Path) -> None:
    async def scenario() -> None:
        it = Ground(tmp_path)
        it.watch.cover({"": 1, "gone/": 2}, lambda path, went: True)
        assert await it.heard(), "another pass finds that it is gone"
        it.cover()
        assert await it.heard()
        await it.hears((tmp_path / "a.txt").touch)
        assert not it.said
        await it.watch.close()

    asyncio.run(scenario())


def test_a_watch_that_cannot_be_had_is_said_once_and_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0

    class Clock(SystemClock):
        def monotonic(self) -> float:
            return now_s

    real = watchfiles.watch
    tried: list[int] = []

    def refused(*paths: Any, **more: Any) -> Any:
        tried.append(len(paths))
        raise OSError(errno.ENOSPC, "OS file watch limit reached.")

    async def scenario() -> None:
        nonlocal now_s
        it = Ground(tmp_path)
        it.watch = FolderWatch(tmp_path, Clock(), it.said.append)
        monkeypatch.setattr(watchfiles, "watch", refused)
        it.cover()
        assert not await it.heard(NEVER_S)
        assert it.said == ["[Errno 28] OS file watch limit reached."]
        it.cover()
        now_s = REST_S
        it.cover()
        assert not await it.heard(NEVER_S)
        assert (len(it.said), len(tried)) == (1, 2)
        monkeypatch.setattr(watchfiles, "watch", real)
        now_s = 2 * REST_S
        it.cover()
        assert await it.heard()
        await it.watch.close()
        await it.watch.close()

    asyncio.run(scenario())


def test_a_folder_that_cannot_be_watched_for_its_name_is_said(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"caf\xe9")
    root.mkdir()

    async def scenario() -> None:
        it = Ground(root)
        it.cover()
        assert not await it.heard(NEVER_S)
        assert it.said == ["the path of the folder is not UTF-8, and no other can be watched"]
        await it.watch.close()

    asyncio.run(scenario())


def test_however_much_happens_nothing_piles_up(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with ground(tmp_path) as it:
            for number in range(3000):
                (it.root / f"{number}.txt").touch()
            await asyncio.sleep(NEVER_S)
            assert await it.heard()
            assert not await it.heard(0.3), "all of it was one piece of news"

    asyncio.run(scenario())
