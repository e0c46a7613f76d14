"""A folder as a source: what changes, what stays, and what must never delete anything."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from headwater.clock import SystemClock, SystemIds
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
from headwater.sources import scan
from headwater.sources.folder import BATCH_BYTES, BATCH_FILES, FolderSource
from headwater.sources.port import Pass

OLD_NS = 1_600_000_000_000_000_000


class Bench:
    """A folder, a log in memory, and the changes that came into it since one last looked."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.log = MemoryLog(SystemClock(), SystemIds())
        self.include = ["**/*.txt"]
        self.redactor: Redactor | None = None
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
        return FolderSource(self.root, self.include, writer, SystemClock(), self.redactor)

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
        ("a/ü.txt", {"text": "umlaut"}),
        ("b.txt", {"text": "bee"}),
        ("empty.txt", {"text": ""}),
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
    before_us = SystemClock().now_us()
    bench.put("a.txt", "two", OLD_NS + 1)
    asyncio.run(source.synchronise())
    assert bench.changes()[-1].time_us >= before_us, "the last pass was later than the stamp, and saw no change"
    bench.put("a.txt", "three", before_us * 1000)
    asyncio.run(source.synchronise())
    assert bench.changes()[-1].time_us == before_us, "an edit since the last pass has its own time"


def test_a_second_pass_finds_nothing(bench: Bench) -> None:
    bench.put("a.txt", "one")
    bench.put("new.txt", "two", 1 << 62)  # its time stamp lies in the future, so it is read again and again
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


def test_a_change_within_the_same_time_stamp_is_found(bench: Bench) -> None:
    now_ns = SystemClock().now_us() * 1000
    bench.put("a.txt", "one", now_ns)
    bench.synchronise()
    bench.put("a.txt", "two", now_ns)
    assert bench.synchronise() == Pass(1, 0)


def test_what_is_no_longer_included_is_deleted(bench: Bench) -> None:
    bench.put("a.txt", "one")
    bench.synchronise()
    bench.include = ["*.md"]
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
    with pytest.raises(Unreachable, match="not a folder"):
        bench.synchronise()
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
    whole = scan.Walk.run

    def run(walk: scan.Walk) -> scan.Walk:
        bench.root.rename(bench.root.with_name("away"))
        monkeypatch.setattr(scan, "check_root", lambda root: None)
        monkeypatch.setattr(scan, "_entries", lambda folder: [])
        return whole(walk)

    monkeypatch.setattr(scan.Walk, "run", run)
    assert bench.synchronise() == Pass(0, 0)
    assert bench.told() == []


def test_what_cannot_be_used_is_reported_and_keeps_its_last_good_version(bench: Bench) -> None:
    for name in ("bytes", "large", "good"):
        bench.put(f"{name}.txt", "one")
    bench.synchronise()
    bench.told()
    bench.put("bytes.txt", b"\xff\xfe", OLD_NS + 1)
    with (bench.root / "large.txt").open("wb") as file:
        file.truncate(scan.MAX_FILE_BYTES + 1)
    bench.put("good.txt", "two", OLD_NS + 1)
    bench.put("x" * 200 + "/" + "y" * 200 + "/" + "z" * 200 + "/" + ("ü" * 100 + "/") * 3 + "deep.txt", "deep")
    (bench.root / os.fsdecode(b"name-\xff.txt")).write_text("x")
    (bench.root / os.fsdecode(b"folder-\xff")).mkdir()
    for _ in range(2):
        done = bench.synchronise()
        reasons = {name[:12]: reason for name, reason in done.skipped}
        assert reasons["bytes.txt"] == "not UTF-8"
        assert reasons["large.txt"] == "larger than 32 MiB"
        assert reasons["name-\\xff.tx"] == "its name is not UTF-8"
        assert reasons["folder-\\xff"] == "its name is not UTF-8"
        assert "at most 1024" in reasons["x" * 12]
        assert done.deletes == 0
    assert bench.told() == [("good.txt", "two")]


@pytest.mark.parametrize("folder", [False, True])
def test_what_may_not_be_read_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch, folder: bool) -> None:
    bench.put("closed/a.txt", "one")
    bench.put("open/a.txt", "one")
    bench.synchronise()
    bench.told()
    bench.put("open/a.txt", "two", OLD_NS + 1)
    bench.put("closed/a.txt", "two", OLD_NS + 1)

    # By hand, because the tests may run as a user whom no rights keep out.
    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Path, *more: int) -> object:
            if "closed" in str(path):
                raise PermissionError(13, "Permission denied")
            return real(path, *more)

        return refuse

    if folder:
        monkeypatch.setattr(scan, "_entries", refusing(scan._entries))
        monkeypatch.setattr(Path, "lstat", refusing(Path.lstat))
    else:
        monkeypatch.setattr(os, "open", refusing(os.open))
    done = bench.synchronise()
    monkeypatch.undo()
    assert done == Pass(1, 0, (("closed" if folder else "closed/a.txt", "cannot be read: Permission denied"),))
    assert bench.told() == [("open/a.txt", "two")]
    assert bench.synchronise() == Pass(1, 0)


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
    assert bench.synchronise() == Pass(0, 0)
    monkeypatch.undo()
    assert bench.synchronise().upserts == 1


def test_links_and_pipes_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_text("secret")
    (bench.root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (bench.root / "links").symlink_to(tmp_path / "outside")
    (bench.root / "loop").symlink_to(bench.root)
    os.mkfifo(bench.root / "pipe.txt")
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
    asyncio.run(FolderSource(bench.root, ["**/*"], writer, SystemClock()).synchronise())
    assert sum(count for count, _ in appends) == BATCH_FILES + 30
    assert all(count <= BATCH_FILES and size <= BATCH_BYTES * 1.01 for count, size in appends)
    for path in (bench.root / "small").iterdir():
        path.unlink()
    appends.clear()
    asyncio.run(FolderSource(bench.root, ["**/*"], writer, SystemClock()).synchronise())
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
    return FolderSource(bench.root, bench.include, writer, SystemClock())


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
