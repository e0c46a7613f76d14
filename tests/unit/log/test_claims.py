"""What is too large for a record: refused, or in a folder under its digest, and whole again for whoever reads."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from pathlib import Path

import msgspec
import pytest

from headwater.clock import SystemClock, SystemIds
from headwater.errors import Reject, Retry
from headwater.log.claims import HELD_BYTES, MARKER, ClaimFolder, Claims, LimitedWriter, look
from headwater.log.codecs.json import decode, delete, upsert
from headwater.log.codecs.oversized import (
    CLAIM_HEADER,
    OVERSIZED_HEADER,
    UNMET_HEADER,
    Claim,
    claim_of,
    decoding,
    refused,
    size_of,
)
from headwater.log.learning import LearningHistory, LearningReader
from headwater.log.memory import MemoryLog
from headwater.model.change import Change, Outgoing, Record, Undecodable
from headwater.model.registry import Epoch

EPOCHS = (Epoch(1, "x", 1),)
READ = decoding(decode)
LIMIT = 2000
LARGE = "word " * 1000


@pytest.fixture
def folder(tmp_path: Path) -> ClaimFolder:
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / MARKER).touch()
    return ClaimFolder(tmp_path / "claims", SystemIds())


def kept_in(folder: Path) -> Path:
    """Return the one file that is kept there; nothing unfinished may lie beside it."""
    (kept,) = set(folder.iterdir()) - {folder / MARKER}
    return kept


def record(change: Outgoing, offset: int = 0) -> Record:
    return Record(0, offset, change.key, change.value, 5, change.headers)


def undecodable(of: Record) -> Undecodable:
    found = READ(of, EPOCHS)
    assert isinstance(found, Undecodable)
    return found


class Bench:
    """A log in memory whose records are limited."""

    def __init__(self, folder: ClaimFolder | None) -> None:
        self.log = MemoryLog(SystemClock(), SystemIds())
        self.writer = LimitedWriter(self.log.writer("s", 1), LIMIT, folder)
        self.folder = folder

    def append(self, *changes: Outgoing) -> None:
        asyncio.run(self.writer.append(changes))

    def raw(self) -> list[Record]:
        async def read() -> list[Record]:
            return [it async for it in self.log.history("s", "g", 1).read(0, 0, 100)]

        return asyncio.run(read())

    def read(self) -> list[Change | Undecodable]:
        async def read() -> list[Change | Undecodable]:
            assert self.folder is not None
            claims = Claims(self.folder)
            history = LearningHistory(self.log.history("s", "g", 1), claims.fetch, claims.whole)
            return [READ(it, EPOCHS) async for it in history.read(0, 0, 100)]

        return asyncio.run(read())


def test_without_a_folder_it_is_refused_and_nothing_is_appended() -> None:
    bench = Bench(None)
    with pytest.raises(Reject, match=r"log\.largest is 2,000.*log\.oversized\.claim_check") as raised:
        bench.append(upsert("a", "small", 1), upsert("b", LARGE, 1))
    assert raised.value.index == 1
    assert bench.raw() == []


def test_what_just_fits_goes_as_it_is(folder: ClaimFolder) -> None:
    change = upsert("a", "x" * 100, 1)
    over = LIMIT - size_of(change)
    fits, larger = upsert("a", "x" * (100 + over), 1), upsert("b", "x" * (101 + over), 1)
    bench = Bench(folder)
    bench.append(fits, larger)
    first, second = bench.raw()
    assert first.value == fits.value
    assert claim_of(first) is None
    assert claim_of(second) is not None


def test_a_claim_is_whole_again_with_the_digest_of_the_real_body(folder: ClaimFolder, tmp_path: Path) -> None:
    bench = Bench(folder)
    change = upsert("a", LARGE, 1)._replace(headers=(("content-type", b"application/json"),))
    bench.append(change, upsert("b", "small", 1), change)
    whole, small, again = bench.read()
    plain = decode(record(change), EPOCHS)
    assert isinstance(whole, Change)
    assert isinstance(plain, Change)
    assert whole == msgspec.structs.replace(plain, appended_us=whole.appended_us)
    assert isinstance(small, Change)
    assert isinstance(again, Change)
    assert again.digest == whole.digest
    kept = kept_in(tmp_path / "claims")
    assert kept.read_bytes() == change.value
    raw = bench.raw()[0]
    assert size_of(Outgoing(raw.key, raw.value, raw.headers)) < LIMIT
    assert json.loads(raw.value or b"") == {
        "id": "a",
        "claim": f"sha256:{kept.name}",
        "bytes": len(change.value or b""),
    }


def test_a_claim_that_is_missing_or_damaged_is_a_dead_letter_with_a_reason(folder: ClaimFolder, tmp_path: Path) -> None:
    bench = Bench(folder)
    bench.append(upsert("a", LARGE, 1), upsert("b", "small", 1))
    kept = kept_in(tmp_path / "claims")
    whole = kept.read_bytes()
    for damage in (whole[:-1], whole + b"x", b"X" + whole[1:], b""):
        kept.write_bytes(damage)
        bad, good = bench.read()
        assert isinstance(bad, Undecodable)
        assert "damaged" in bad.reason
        assert isinstance(good, Change)
    kept.unlink()
    bad, good = bench.read()
    assert isinstance(bad, Undecodable)
    assert (bad.id, "not in the claim check's folder" in bad.reason) == ("a", True)
    # What was damaged is mended by whoever publishes it again.
    kept.write_bytes(b"torn")
    bench.append(upsert("a", LARGE, 1))
    assert all(isinstance(it, Change) for it in bench.read())


def test_a_folder_without_its_marker_is_away_and_stays_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "claims"
    folder = ClaimFolder(root, SystemIds())
    claim = Claim(hashlib.sha256(b"x").hexdigest(), 1)
    made = f"`mkdir -p {root} && touch {root / MARKER}`"
    for _ in ("there is none", "there is an empty one"):
        with pytest.raises(Retry) as put:
            folder.put(b"x")
        with pytest.raises(Retry) as got:
            folder.get(claim)
        assert put.value.cause == got.value.cause
        assert made in put.value.cause
        assert look(root).fault in put.value.cause
        assert not root.exists() or list(root.iterdir()) == []
        root.mkdir(exist_ok=True)
    assert MARKER in look(root).fault
    (root / MARKER).touch()
    assert look(root).fault == ""
    with pytest.raises(Reject, match="not in the claim check's folder"):
        folder.get(claim)
    assert folder.get(folder.put(b"x")) == b"x"


def test_a_share_that_is_unmounted_is_waited_for_and_nothing_becomes_a_dead_letter(
    folder: ClaimFolder, tmp_path: Path
) -> None:
    bench = Bench(folder)
    bench.append(upsert("a", LARGE, 1))
    (tmp_path / "claims").rename(tmp_path / "share")
    (tmp_path / "claims").mkdir()  # the mount point
    with pytest.raises(Retry, match="Mount it"):
        bench.read()
    with pytest.raises(Retry, match="Mount it"):
        bench.append(upsert("b", LARGE, 1))
    assert len(bench.raw()) == 1
    (tmp_path / "claims").rmdir()
    (tmp_path / "share").rename(tmp_path / "claims")
    bench.append(upsert("b", LARGE, 1))
    assert all(isinstance(it, Change) for it in bench.read())


def test_bytes_stay_out_of_what_was_under_the_share_when_it_goes_in_the_middle(tmp_path: Path) -> None:
    root, share = tmp_path / "claims", tmp_path / "share"
    root.mkdir()
    (root / MARKER).touch()

    class Unmounting(SystemIds):
        """The file's name is chosen after the folder was looked at."""

        def identity(self) -> str:
            root.rename(share)
            root.mkdir()
            return super().identity()

    ClaimFolder(root, Unmounting()).put(b"x")
    assert list(root.iterdir()) == []
    assert kept_in(share).read_bytes() == b"x"


def test_what_cannot_be_written_leaves_nothing_behind(
    folder: ClaimFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Retry) as raised:
            folder.put(b"x")
    assert raised.value.cause == "No space left on device"
    assert [*(tmp_path / "claims").iterdir()] == [tmp_path / "claims" / MARKER]


def test_what_a_folder_is_found_to_be(folder: ClaimFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.put(b"x")
    root = tmp_path / "claims"
    assert (look(root).fault, look(root).writable) == ("", True)
    (tmp_path / "file").touch()
    assert look(tmp_path / "file").fault == "Not a directory"
    # Whoever runs as root may write everywhere, so the system's answer is given here.
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert (look(root).fault, look(root).writable) == ("", False)


def test_a_reader_holds_a_bounded_number_of_bytes_and_loses_nothing(folder: ClaimFolder) -> None:
    bench = Bench(folder)
    texts = {f"d{it}": chr(97 + it) * (HELD_BYTES // 3) for it in range(8)}
    bench.append(*(upsert(name, text, 1) for name, text in texts.items()), delete("d0", 2))

    async def read() -> list[list[Record]]:
        claims = Claims(folder)
        reader = LearningReader(bench.log.reader("s", "g", 1, 1), claims.fetch, claims.whole)
        polls: list[list[Record]] = []
        while sum(map(len, polls)) < 9:
            polls.append([*(await reader.poll(100, 1 << 30, 0.0)).records])
        await reader.close()
        return polls

    polls = asyncio.run(read())
    assert max(sum(it.size_bytes for it in poll) for poll in polls) <= HELD_BYTES + 2000
    got = [READ(it, EPOCHS) for poll in polls for it in poll]
    assert [it.id for it in got] == [*texts, "d0"]
    assert all(isinstance(it, Change) for it in got)


def test_one_larger_than_all_that_is_held_comes_alone(folder: ClaimFolder) -> None:
    bench = Bench(folder)
    bench.append(upsert("a", "x" * (HELD_BYTES + 9), 1))
    (found,) = bench.read()
    assert isinstance(found, Change)


def test_nobody_reads_outside_the_folder(folder: ClaimFolder) -> None:
    for value in (b"sha256:../../etc/passwd 5", b"sha256:" + b"A" * 64 + b" 5", b"sha256:" + b"a" * 64, b"", b"\xff"):
        of = Record(0, 0, b"a", b"{}", 5, ((CLAIM_HEADER, value),))
        assert claim_of(of) is None
        assert "names nothing" in undecodable(of).reason
    assert folder.put(b"x") == Claim("2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", 1)


def test_without_the_option_a_claim_says_what_to_set() -> None:
    of = Record(0, 0, b"a", b'{"id":"a"}', 5, ((CLAIM_HEADER, b"sha256:" + b"a" * 64 + b" 5"),))
    assert "set log.oversized.claim_check" in undecodable(of).reason


def test_what_a_source_refused_is_a_dead_letter_with_its_size() -> None:
    of = record(refused(upsert("a", LARGE, 1), 7))
    found = undecodable(of)
    assert found.id == "a"
    assert found.reason.startswith("5,0")
    assert "log.largest" in found.reason
    assert len(of.value or b"") < 100


def test_headers_of_others_do_no_harm() -> None:
    unread = Record(0, 0, b"a", b'{"id":"a","text":"x"}', 5, (("other", b"\xff\xfe"), ("", b"")))
    assert isinstance(READ(unread, EPOCHS), Change)
    for headers in (((OVERSIZED_HEADER, b"a lot"),), ((UNMET_HEADER, b"\xff"),)):
        assert undecodable(msgspec.structs.replace(unread, headers=headers)).id == "a"
    for key in (b"", b"\xff"):
        assert undecodable(Record(0, 0, key, unread.value, 5, ((OVERSIZED_HEADER, b"5"),))).id == "record 0.0"
