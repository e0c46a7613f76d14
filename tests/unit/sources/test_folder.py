"""A folder as a source: what changes, what stays, and what must never delete anything."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from headwater.clock import Clock, SystemClock, SystemIds
from headwater.errors import Halt, Retry, Unreachable
from headwater.log.claims import LimitedWriter
from headwater.log.codecs.json import decode
from headwater.log.codecs.oversized import decoding
from headwater.log.memory import MemoryLog
from headwater.log.port import DOUBTFUL, LogWriter, SourcePosition
from headwater.log.redaction import REFUSED, RedactingWriter
from headwater.model.change import Change, Outgoing, Undecodable
from headwater.model.registry import Epoch
from headwater.recipe.redact.redactor import Redactor
from headwater.sources import folder as folder_module
from headwater.sources import scan, selecting
from headwater.sources.folder import BATCH_BYTES, BATCH_FILES, FolderSource
from headwater.sources.port import Pass
from headwater.sources.selecting import Choice
from tests.integration.documents.memory import MemoryReader

OLD_NS = 1_600_000_000_000_000_000


class Later(SystemClock):
    """A clock that runs ahead of the file system's, so that all files have long stood still."""

    def __init__(self, ahead_s: float = 60.0) -> None:
        self.ahead_us = round(ahead_s * 1e6)

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


class Stopped(Later):
    """A clock that stands still, so many seconds after a file was written, however slow the machine is."""

    def __init__(self, path: Path, after_s: float) -> None:
        super().__init__(after_s)
        self._written_us = path.stat().st_ctime_ns // 1000

    def now_us(self) -> int:
        return self._written_us + self.ahead_us


class Bench:
    """A folder, a log in memory, and the changes that came into it since one last looked."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.log = MemoryLog(SystemClock(), SystemIds())
        self.redactor: Redactor | None = None
        self.choice = Choice(("**/*.txt",), (), (".headwaterignore",))
        self.clock: Clock = Later()
        self.reader = MemoryReader()
        self._seen = 0

    def put(self, name: str, content: str | bytes, time_ns: int = OLD_NS) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, ns=(time_ns, time_ns))
        return path

    def source(self) -> FolderSource:
        writer: LogWriter = self.log.writer("s", 1)
        if self.redactor is not None:
            writer = RedactingWriter(writer, self.redactor)
        return FolderSource(self.root, self.choice, writer, self.clock, self.reader, redactor=self.redactor)

    def synchronise(self) -> Pass:
        return asyncio.run(self.source().synchronise())

    def changes(self) -> list[Change]:
        async def read() -> list[Change]:
            history = self.log.history("s", "g", 1)
            found = [decode(it, (Epoch(1, "x", 1),)) async for it in history.read(0, self._seen, 1 << 40)]
            return [it for it in found if isinstance(it, Change)]

        found = asyncio.run(read())
        self._seen += len(found)
        return found

    def told(self) -> list[tuple[str, str | None]]:
        return [(it.id, it.body["text"] if it.body else None) for it in self.changes()]

    def serial(self) -> int:
        return asyncio.run(self.log.writer("s", 1).position("folder"))[0]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_files_become_documents(bench: Bench) -> None:
    bench.put("b.txt", "bee", OLD_NS + 1_500_000_000)
    bench.put("a/ü.txt", "\ufeffumlaut")
    bench.put("a/no.md", "not included")
    bench.put("empty.txt", "")
    assert bench.synchronise() == Pass(3, 0)
    changes = bench.changes()
    assert [(it.id, it.body) for it in changes] == [
        ("a/ü.txt", {"text": "umlaut", "format": "text", "type": "text/plain", "path": "a/ü.txt"}),
        ("b.txt", {"text": "bee", "format": "text", "type": "text/plain", "path": "b.txt"}),
        ("empty.txt", {"text": "", "format": "text", "type": "text/plain", "path": "empty.txt"}),
    ]
    assert changes[1].time_us > OLD_NS // 1000 + 1_500_000, "a new file's time is when it is seen, not its time stamp"
    bench.put("b.txt", "bees", OLD_NS + 9_000_000_000)
    assert bench.synchronise() == Pass(1, 0)
    assert bench.changes()[-1].time_us == OLD_NS // 1000 + 9_000_000, "an edit's is its time stamp"
    bench.put("b.txt", "bee", OLD_NS)
    assert bench.synchronise() == Pass(1, 0)
    assert bench.changes()[-1].time_us > OLD_NS // 1000 + 9_000_000, "an older file that was moved here comes now"


def test_an_edit_that_was_copied_here_with_an_old_stamp_comes_when_it_is_seen(bench: Bench) -> None:
    bench.put("a.txt", "one")
    source = bench.source()
    asyncio.run(source.synchronise())
    before_us = bench.clock.now_us()
    bench.put("a.txt", "two", OLD_NS + 1)
    asyncio.run(source.synchronise())
    assert bench.changes()[-1].time_us >= before_us, "the last pass was later than the stamp, and saw no change"
    bench.put("a.txt", "three", before_us * 1000)
    asyncio.run(source.synchronise())
    assert bench.changes()[-1].time_us == before_us, "an edit since the last pass has its own time"


def test_a_second_pass_finds_nothing(bench: Bench) -> None:
    bench.put("a.txt", "one")
    bench.put("new.txt", "two", 1 << 62)  # its time stamp lies in the future
    bench.synchronise()
    serial = bench.serial()
    assert bench.synchronise() == Pass(0, 0)
    assert bench.serial() == serial


def test_unchanged_files_are_not_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put("a.txt", "one")
    bench.synchronise()
    monkeypatch.setattr(folder_module, "read_file", None)
    assert bench.synchronise() == Pass(0, 0)


def test_changed_touched_and_vanished(bench: Bench) -> None:
    for name in ("changed", "touched", "gone", "same"):
        bench.put(f"{name}.txt", "one")
    bench.synchronise()
    bench.told()
    bench.put("changed.txt", "two", OLD_NS + 1)
    bench.put("touched.txt", "one", OLD_NS + 1)
    (bench.root / "gone.txt").unlink()
    serial = bench.serial()
    assert bench.synchronise() == Pass(1, 1)
    assert bench.told() == [("gone.txt", None), ("changed.txt", "two")]
    assert bench.serial() == serial + 2
    assert bench.synchronise() == Pass(0, 0)


def test_an_edit_that_sets_size_and_time_stamp_back_is_found(bench: Bench) -> None:
    for stamp in (OLD_NS, 0):
        bench.put("a.txt", "one", stamp)
        bench.synchronise()
        bench.put("a.txt", "two", stamp)
        assert bench.synchronise() == Pass(1, 0)


def test_files_that_were_swapped_with_their_folders_are_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scan.Found

    def alike(name: str, size: int, mtime_ns: int, ctime_ns: int, inode: int) -> scan.Found:
        return whole(name, size, mtime_ns, OLD_NS, inode)  # as if both had been made within one tick

    monkeypatch.setattr(scan, "Found", alike)
    monkeypatch.setattr(scan, "_same", lambda state, found: True)
    bench.put("x/a.txt", "one")
    bench.put("y/a.txt", "two")
    bench.synchronise()
    bench.told()
    for old, new in (("x", "z"), ("y", "x"), ("z", "y")):
        (bench.root / old).rename(bench.root / new)
    bench.synchronise()
    assert bench.told() == [("x/a.txt", "two"), ("y/a.txt", "one")]


def test_a_file_that_changed_a_moment_ago_is_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one tick of the file system's clock an edit may leave no trace but in the bytes."""
    path = bench.put("a.txt", "one")
    bench.clock = Stopped(path, 1.0)
    bench.synchronise()
    bench.told()
    content = scan._read_still

    def edited(stream: BinaryIO, found: scan.Found) -> bytes | None:
        return b"two" if content(stream, found) == b"one" else None

    monkeypatch.setattr(scan, "_read_still", edited)
    bench.clock = Later(60.0)
    assert bench.synchronise() == Pass(1, 0)
    assert bench.told() == [("a.txt", "two")]
    assert bench.synchronise() == Pass(0, 0), "now it is old enough to be trusted"
    assert path.read_text() == "one"


def test_young_is_what_was_young_before_it_was_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Stopped(bench.put("a.txt", "one"), 1.0)
    bench.clock = clock
    whole = scan.read_file

    def slowly(root: Path, found: scan.Found) -> bytes | None:
        clock.ahead_us += 10_000_000
        return whole(root, found)

    monkeypatch.setattr(folder_module, "read_file", slowly)
    bench.synchronise()
    calls: list[scan.Found] = []
    monkeypatch.setattr(folder_module, "read_file", lambda root, found: calls.append(found))
    bench.synchronise()
    assert calls, "it may have been written within the tick in which the reading began"


def test_a_file_that_is_being_written_is_not_read_half(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Later(0.0)
    clock.monotonic = lambda: clock.ahead_us / 1e6  # type: ignore[method-assign]  # both clocks move together here
    bench.clock = clock
    source = bench.source()
    bench.put("still.txt", "whole")
    clock.ahead_us += 1_000_000
    half = bench.put("a.txt", "half")

    def age_ns(found: scan.Found) -> int:
        # As if the file had been written to right now.
        return 0 if found.id == "a.txt" else whole(found)

    whole = source._age_ns
    monkeypatch.setattr(source, "_age_ns", age_ns)
    for wait_s in range(4):
        half.write_text("half" * (wait_s + 2))
        done = asyncio.run(source.synchronise())
        assert done.again_s == pytest.approx(0.5)
        assert not done.skipped
        clock.ahead_us += 1_500_000
    half.write_text("half of it")
    done = asyncio.run(source.synchronise())
    assert done == Pass(0, 0, (("a.txt", "is being written all the time"),))
    monkeypatch.undo()
    assert bench.told() == [("still.txt", "whole")]
    assert asyncio.run(source.synchronise()) == Pass(1, 0)


@pytest.mark.parametrize("folder", ["", "inner/"])
def test_an_ignore_file_that_is_being_written_lets_nothing_through(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    bench.put(f"{folder}private/a.txt", "secret")
    bench.put(f"{folder}known.txt", "one")
    bench.put("other/a.txt", "two")
    ignoring = bench.put(f"{folder}.headwaterignore", "private/\n")
    source = bench.source()
    assert asyncio.run(source.synchronise()) == Pass(2, 0)
    bench.told()
    bench.put(f"{folder}known.txt", "news", OLD_NS + 1)
    # An editor: it truncates, writes half, and the whole.
    age_ns, before = 100_000_000, source._age_ns
    monkeypatch.setattr(source, "_age_ns", lambda it: age_ns if it.id.endswith("ignore") else before(it))
    for content in ("", "draf", "drafts/\nprivate/\n"):
        ignoring.write_text(content)
        done = asyncio.run(source.synchronise())
        assert done.again_s == pytest.approx(0.4)
        assert done == Pass(0, 0, again_s=done.again_s)
    age_ns = 500_000_000
    assert asyncio.run(source.synchronise()) == Pass(1, 0)
    assert bench.told() == [(f"{folder}known.txt", "news")]


@pytest.mark.parametrize("folder", ["", "inner/"])
def test_an_ignore_file_that_changes_while_it_is_read_is_read_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    bench.put(f"{folder}private/a.txt", "secret")
    ignoring = bench.put(f"{folder}.headwaterignore", "pri")
    whole = scan.Walk._ignore_text

    def late(walk: scan.Walk, *more: Any) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(walk, "_moving_s", lambda found: ignoring.write_text("private/") * 0)
            return whole(walk, *more)

    monkeypatch.setattr(scan.Walk, "_ignore_text", late)
    assert bench.synchronise() == Pass(0, 0, again_s=0.5)
    monkeypatch.undo()
    assert bench.synchronise() == Pass(0, 0)


def test_an_ignore_file_that_never_stands_still_is_told_of(bench: Bench) -> None:
    clock = Later(0.0)
    clock.monotonic = lambda: clock.ahead_us / 1e6  # type: ignore[method-assign]  # moved by hand
    clock.now_us = lambda: 0  # type: ignore[method-assign]  # the file system's runs ahead
    bench.clock = clock
    source = bench.source()
    for number in range(8):
        bench.put("inner/.headwaterignore", f"{number}")
        done = asyncio.run(source.synchronise())
        clock.ahead_us += 1_000_000
    assert done == Pass(0, 0, (("inner", ".headwaterignore in it is being written all the time"),))


def test_where_the_file_systems_clock_runs_ahead_a_file_is_read_after_two_looks(bench: Bench) -> None:
    clock = Later(-3600.0)
    passed_s = 0.0
    clock.monotonic = lambda: passed_s  # type: ignore[method-assign]  # moved by hand
    bench.clock = clock
    bench.put("a.txt", "one")
    source = bench.source()
    assert asyncio.run(source.synchronise()) == Pass(0, 0, (), 0.5)
    passed_s = 0.5
    assert asyncio.run(source.synchronise()) == Pass(1, 0)


def test_what_is_no_longer_included_is_deleted(bench: Bench) -> None:
    bench.put("a.txt", "one")
    bench.synchronise()
    bench.choice = Choice(("*.md",))
    assert bench.synchronise() == Pass(0, 1)


def test_a_folder_that_was_moved_holds_the_same_documents(bench: Bench) -> None:
    bench.put("a.txt", "one")
    bench.synchronise()
    bench.root = bench.root.rename(bench.root.with_name("elsewhere"))
    assert bench.synchronise() == Pass(0, 0)


def test_a_missing_root_deletes_nothing(bench: Bench) -> None:
    bench.put("a.txt", "one")
    bench.synchronise()
    bench.told()
    away = bench.root.rename(bench.root.with_name("away"))
    with pytest.raises(Retry, match="no such folder"):
        bench.synchronise()
    bench.root.write_text("a file")
    with pytest.raises(Unreachable, match="not a folder") as failed:
        bench.synchronise()
    assert failed.value.code == "source-unusable"
    bench.root.unlink()
    assert bench.told() == []
    away.rename(bench.root)
    assert bench.synchronise() == Pass(0, 0)


def test_a_root_that_was_never_there_is_a_mistake(bench: Bench) -> None:
    bench.root.rmdir()
    with pytest.raises(Unreachable, match="no such folder"):
        bench.synchronise()
    bench.root.mkdir()
    source = bench.source()
    assert asyncio.run(source.synchronise()) == Pass(0, 0)
    bench.root.rmdir()
    with pytest.raises(Retry, match="no such folder"):
        asyncio.run(source.synchronise())


def test_a_root_that_goes_away_during_the_walk_deletes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put("a/a.txt", "one")
    bench.synchronise()
    bench.told()
    whole = selecting.Selection.enter

    def enter(*looked: Any) -> None:
        bench.root.rename(bench.root.with_name("away"))
        whole(*looked)

    monkeypatch.setattr(selecting.Selection, "enter", enter)
    assert bench.synchronise() == Pass(0, 0)
    assert bench.told() == []


def test_what_cannot_be_used_is_reported_and_keeps_its_last_good_version(bench: Bench) -> None:
    for name in ("large", "good"):
        bench.put(f"{name}.txt", "one")
    bench.synchronise()
    bench.told()
    with (bench.root / "large.txt").open("wb") as file:
        file.truncate(scan.MAX_FILE_BYTES + 1)
    bench.put("good.txt", "two", OLD_NS + 1)
    bench.put("x" * 200 + "/" + "y" * 200 + "/" + "z" * 200 + "/" + ("ü" * 100 + "/") * 3 + "deep.txt", "deep")
    (bench.root / os.fsdecode(b"name-\xff.txt")).write_text("x")
    (bench.root / os.fsdecode(b"folder-\xff")).mkdir()
    for _ in range(2):
        done = bench.synchronise()
        reasons = {name[:12]: reason for name, reason in done.skipped}
        assert reasons["large.txt"] == "larger than 32 MiB"
        assert reasons["name-\\xff.tx"] == "its name is not UTF-8"
        assert reasons["folder-\\xff"] == "its name is not UTF-8"
        assert "at most 1024" in reasons["x" * 12]
        assert done.deletes == 0
    assert bench.told() == [("good.txt", "two")]


@pytest.mark.parametrize("folder", [False, True])
def test_what_may_not_be_read_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch, folder: bool) -> None:
    bench.put("closed/shut.txt", "one")
    bench.put("open/a.txt", "one")
    bench.synchronise()
    bench.told()
    bench.put("open/a.txt", "two", OLD_NS + 1)
    bench.put("closed/shut.txt", "two", OLD_NS + 1)
    refused = "closed" if folder else "shut.txt"

    # By hand, because the tests may run as a user whom no rights keep out.
    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Path | str, *more: int) -> object:
            if refused in Path(path).parts:
                raise PermissionError(13, "Permission denied")
            return real(path, *more)

        return refuse

    monkeypatch.setattr(scan, "_open", refusing(scan._open))
    monkeypatch.setattr(Path, "lstat", refusing(Path.lstat))
    done = bench.synchronise()
    monkeypatch.undo()
    assert done == Pass(1, 0, (("closed" if folder else "closed/shut.txt", "cannot be read: Permission denied"),))
    assert bench.told() == [("open/a.txt", "two")]
    assert bench.synchronise() == Pass(1, 0)


def test_a_folder_that_becomes_a_link_while_one_looks_leads_nowhere(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        bench.put(f"{folder}/{folder}.txt", folder)
    (tmp_path / "outside").mkdir()
    for name in ("a.txt", "b.txt", "secret.txt"):
        (tmp_path / "outside" / name).write_text("x")
    whole = selecting.Selection.enter

    def enter(selection: selecting.Selection, folder: str, *more: Any) -> None:
        whole(selection, folder, *more)
        # Whichever comes first: the other one is known for a folder, and not yet entered.
        other = {"a/": "b", "b/": "a"}.get(folder)
        if other:
            (bench.root / other).rename(tmp_path / other)
            (bench.root / other).symlink_to(tmp_path / "outside")

    monkeypatch.setattr(selecting.Selection, "enter", enter)
    assert bench.synchronise().upserts <= 1
    assert [text for _, text in bench.told()] in (["a"], ["b"], [])


def test_a_folder_above_a_file_that_became_a_link_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    bench.put("a/b/c.txt", "inside")
    (found,) = scan.Walk(bench.root, bench.choice).run().files
    assert scan.read_file(bench.root, found) == b"inside"
    (bench.root / "a").rename(tmp_path / "a")
    (bench.root / "a").symlink_to(tmp_path / "a")
    assert scan.read_file(bench.root, found) is None, "the same file, but not below the folder any more"


def test_a_file_that_moves_while_it_is_read_waits_for_the_next_pass(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.put("a.txt", "one")
    whole = scan._same

    def same(state: os.stat_result, found: scan.Found) -> bool:
        answer = whole(state, found)
        with path.open("a") as file:
            file.write("more")
        return answer

    monkeypatch.setattr(scan, "_same", same)
    assert bench.synchronise() == Pass(0, 0, (), 0.5)
    monkeypatch.undo()
    assert bench.synchronise().upserts == 1


def test_what_is_ignored_is_no_document_and_becomes_none(bench: Bench) -> None:
    for name in ("a.txt", "drafts/a.txt", "drafts/deep/b.txt", "keep/a.txt"):
        bench.put(name, "one")
    bench.synchronise()
    bench.told()
    bench.put(".headwaterignore", "drafts/\n")
    assert bench.synchronise() == Pass(0, 2)
    assert bench.told() == [("drafts/a.txt", None), ("drafts/deep/b.txt", None)]
    bench.put("keep/.headwaterignore", "*.txt\n")
    (bench.root / ".headwaterignore").unlink()
    assert bench.synchronise() == Pass(2, 1)
    bench.choice = Choice(("**/*.txt",), ("/keep", "!x"), ())
    assert bench.synchronise() == Pass(0, 0)
    bench.choice = Choice(("**/*.txt",))
    assert bench.synchronise() == Pass(1, 0)


@pytest.mark.parametrize("folder", ["", "x/"])
def test_where_an_ignore_file_cannot_be_read_nothing_changes(bench: Bench, folder: str) -> None:
    bench.put(f"{folder}a.txt", "one")
    bench.put(f"{folder}ignored.txt", "one")
    ignore = bench.put(f"{folder}.headwaterignore", "ignored.txt")
    bench.synchronise()
    with ignore.open("wb") as file:
        file.truncate(selecting.MAX_IGNORE_BYTES + 1)
    bench.put(f"{folder}a.txt", "two", OLD_NS + 1)
    if folder:
        assert bench.synchronise() == Pass(0, 0, (("x", ".headwaterignore in it is larger than 1 MiB"),))
    else:
        with pytest.raises(Retry, match="headwaterignore in it is larger than 1 MiB"):
            bench.synchronise()
    ignore.unlink()
    assert bench.synchronise() == Pass(2, 0)


def test_an_ignore_file_that_is_a_link_is_none(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("*")
    (bench.root / ".headwaterignore").symlink_to(tmp_path / "lines")
    bench.put("a.txt", "one")
    assert bench.synchronise() == Pass(1, 0)


def test_a_folder_that_is_swapped_for_a_link_is_gone(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put("x/a.txt", "one")
    bench.synchronise()
    bench.told()
    (bench.root / "x").rename(tmp_path / "elsewhere")
    (bench.root / "x").symlink_to(tmp_path / "elsewhere")
    assert bench.synchronise() == Pass(0, 1)
    assert bench.told() == [("x/a.txt", None)]


def test_a_folder_that_is_swapped_for_a_link_while_one_walks_is_not_read(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.put("x/a.txt", "one")
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "a.txt").write_text("two")
    os.utime(outside / "a.txt", ns=(OLD_NS, OLD_NS))
    whole = scan.read_file

    def swapped(root: Path, found: scan.Found) -> bytes | None:
        (bench.root / "x").rename(bench.root / "y")
        (bench.root / "x").symlink_to(outside)
        return whole(root, found)

    monkeypatch.setattr(folder_module, "read_file", swapped)
    bench.synchronise()
    assert bench.told() == []


def test_a_file_and_a_folder_take_each_others_places(bench: Bench) -> None:
    bench.put("x.txt", "one")
    bench.synchronise()
    (bench.root / "x.txt").unlink()
    bench.put("x.txt/y.txt", "two")
    assert bench.synchronise() == Pass(1, 1)
    (bench.root / "x.txt/y.txt").unlink()
    (bench.root / "x.txt").rmdir()
    bench.put("x.txt", "one")
    assert bench.synchronise() == Pass(1, 1)
    told = [("x.txt", "one"), ("x.txt", None), ("x.txt/y.txt", "two"), ("x.txt/y.txt", None), ("x.txt", "one")]
    assert bench.told() == told


def test_a_rename_of_case_alone_and_a_second_name(bench: Bench) -> None:
    path = bench.put("a.txt", "one")
    bench.synchronise()
    path.rename(bench.root / "A.txt")
    os.link(bench.root / "A.txt", bench.root / "b.txt")
    assert bench.synchronise() == Pass(2, 1)
    assert bench.told() == [("a.txt", "one"), ("a.txt", None), ("A.txt", "one"), ("b.txt", "one")]
    bench.put("b.txt", "two", OLD_NS + 1)  # both names are the same file
    assert bench.synchronise() == Pass(2, 0)


def test_links_pipes_and_sockets_are_left_alone(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_text("secret")
    (bench.root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (bench.root / "links").symlink_to(tmp_path / "outside")
    (bench.root / "loop").symlink_to(bench.root)
    os.mkfifo(bench.root / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listening:
        # By a short name: a socket's address has little room.
        monkeypatch.chdir(bench.root)
        listening.bind("socket.txt")
    assert bench.synchronise() == Pass(0, 0)


def test_batches_are_bounded_and_carry_the_position(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(BATCH_FILES + 20):
        bench.put(f"small/{number}.txt", "x")
    for number in range(10):
        bench.put(f"large/{number}.txt", "x" * (BATCH_BYTES // 4))
    appends: list[tuple[int, int]] = []
    writer = bench.log.writer("s", 1)
    append = writer.append

    async def watched(changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        assert position is not None
        assert {change.key for change in changes} == set(position.entries)
        appends.append((len(changes), sum(len(change.value or b"") for change in changes)))
        await append(changes, position)

    monkeypatch.setattr(writer, "append", watched)
    asyncio.run(FolderSource(bench.root, Choice(("**/*",)), writer, bench.clock, bench.reader).synchronise())
    assert sum(count for count, _ in appends) == BATCH_FILES + 30
    assert all(count <= BATCH_FILES and size <= BATCH_BYTES * 1.01 for count, size in appends)
    for path in (bench.root / "small").iterdir():
        path.unlink()
    appends.clear()
    asyncio.run(FolderSource(bench.root, Choice(("**/*",)), writer, bench.clock, bench.reader).synchronise())
    assert [count for count, _ in appends] == [BATCH_FILES, 20]


def test_two_instances_do_not_mix(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put("a.txt", "one")

    async def scenario() -> None:
        one, two = bench.source(), bench.source()
        stale = await bench.log.writer("s", 1).position("folder")
        await two.synchronise()

        async def position(source: str) -> tuple[int, dict[bytes, bytes]]:
            return stale

        monkeypatch.setattr(one._writer, "position", position)
        with pytest.raises(Halt, match="snapshot-race"):
            await one.synchronise()
        await one.close()

    asyncio.run(scenario())
    assert bench.told() == [("a.txt", "one")]


def limited(bench: Bench, largest: int) -> FolderSource:
    writer = LimitedWriter(bench.log.writer("s", 1), largest, None)
    return FolderSource(bench.root, bench.choice, writer, bench.clock, bench.reader)


def test_a_file_that_the_log_does_not_take_is_a_dead_letter_and_hurts_no_other(bench: Bench) -> None:
    bench.put("a.txt", "old")
    bench.synchronise()
    bench.put("a.txt", "x" * 5000, OLD_NS + 1)
    bench.put("b.txt", "small")

    def read() -> list[Change | Undecodable]:
        async def all_of() -> list[Change | Undecodable]:
            history = bench.log.history("s", "g", 1)
            return [decoding(decode)(it, (Epoch(1, "x", 1),)) async for it in history.read(0, 0, 100)]

        return asyncio.run(all_of())

    found = asyncio.run(limited(bench, 1000).synchronise())
    assert (found.upserts, [name for name, _ in found.skipped]) == (1, ["a.txt"])
    assert "log.largest is 1,000" in found.skipped[0][1]
    old, dead, small = read()
    assert isinstance(dead, Undecodable)
    assert (old.id, dead.id, small.id) == ("a.txt", "a.txt", "b.txt")
    # It is told by every pass, and written once.
    assert asyncio.run(limited(bench, 1000).synchronise()).skipped == found.skipped
    assert len(read()) == 3
    # Once the limit is raised, the next pass takes it.
    assert asyncio.run(limited(bench, 9000).synchronise()) == Pass(1, 0)
    assert isinstance(read()[-1], Change)
    assert asyncio.run(limited(bench, 9000).synchronise()) == Pass(0, 0)


def test_what_is_doubtful_is_said_again(bench: Bench) -> None:
    bench.put("a.txt", "one")
    bench.put("b.txt", "two")

    async def scenario() -> None:
        source, writer = bench.source(), bench.log.writer("s", 1)
        await source.synchronise()
        serial, entries = await writer.position("folder")
        await writer.append([], SourcePosition("folder", serial, dict.fromkeys(entries, DOUBTFUL)))
        (bench.root / "b.txt").unlink()
        told = await source.synchronise()
        assert (told.upserts, told.deletes) == (1, 1)

    asyncio.run(scenario())


# --- redaction


def texts(bench: Bench) -> dict[str, str]:
    return {it.id: (it.body or {})["text"] for it in bench.changes()}


def test_other_rules_read_every_file_again(bench: Bench) -> None:
    bench.put("a.txt", "mail a@example.org, host 10.1.2.3")
    bench.put("b.txt", "nothing in it")
    bench.redactor = Redactor(["email"])
    assert bench.synchronise() == Pass(2, 0)
    assert texts(bench) == {"a.txt": "mail [email], host 10.1.2.3", "b.txt": "nothing in it"}
    assert bench.synchronise() == Pass(0, 0)
    bench.redactor = Redactor(["email", "ip"])
    assert bench.synchronise() == Pass(1, 0), "what reads the same is no change"
    assert texts(bench) == {"a.txt": "mail [email], host [ip]"}
    assert bench.synchronise() == Pass(0, 0)
    bench.redactor = None
    assert bench.synchronise() == Pass(1, 0)


def test_an_edit_of_what_is_redacted_is_no_change(bench: Bench) -> None:
    bench.redactor = Redactor(["email"])
    bench.put("a.txt", "mail a@example.org")
    assert bench.synchronise() == Pass(1, 0)
    bench.put("a.txt", "mail bob@example.org", OLD_NS + 10**10)
    assert bench.synchronise() == Pass(0, 0)


def test_a_path_that_holds_something_is_skipped_and_named_without_it(bench: Bench) -> None:
    bench.redactor = Redactor(["email"])
    bench.put("to/bob@example.org.txt", "hello")
    bench.put("to/eve@example.org.txt", b"\xff")
    bench.put("to/ann.txt", "hello")
    assert bench.synchronise() == Pass(1, 0, (("to/[email].txt", REFUSED), ("to/[email].txt", REFUSED)))
    assert set(texts(bench)) == {"to/ann.txt"}
