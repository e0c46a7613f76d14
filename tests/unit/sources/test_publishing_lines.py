"""Reading JSON lines: what is appended, what is rejected, and what it costs."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.clock import SystemClock
from headwater.errors import Reject
from headwater.log.port import SourcePosition
from headwater.model.change import Outgoing
from headwater.sources.jsonl import BATCH_BYTES, BATCH_LINES, Lines, publish


class Sink:
    """A LogWriter that keeps only what a test looks at."""

    def __init__(self, *, keep: bool = True) -> None:
        self.batches: list[tuple[int, int]] = []
        self.changes: list[Outgoing] = []
        self._keep = keep

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        self.batches.append((len(changes), sum(len(it.key) + len(it.value or b"") for it in changes)))
        if self._keep:
            self.changes.extend(changes)

    async def position(self, source: str) -> tuple[int, dict[bytes, bytes]]:
        return 0, {}

    async def close(self) -> None:
        return


def run(stream: BinaryIO, sink: Sink) -> tuple[int, int, list[tuple[int, str]]]:
    bad: list[tuple[int, str]] = []
    appended, rejected = asyncio.run(
        publish(stream, sink, SystemClock(), lambda number, reason: bad.append((number, reason)))
    )
    assert rejected == len(bad)
    assert appended == sum(count for count, _ in sink.batches)
    return appended, rejected, bad


def test_good_lines_of_all_kinds() -> None:
    sink = Sink()
    lines = b'\xef\xbb\xbf{"id":"a","time":"x"}\r\n\n  \r\n{"id":"b","op":"merge","time":1}\n'
    lines += b'{"id":"c","text":"\\ud83d\\ude00"}'
    assert run(io.BytesIO(lines), sink) == (3, 0, [])
    assert [change.key for change in sink.changes] == [b"a", b"b", b"c"]
    assert sink.changes[0].value == b'{"id":"a","time":"x"}'
    assert b'"time":"20' in (sink.changes[2].value or b"")


def test_bad_lines_are_named_by_number() -> None:
    lines = [
        b"\xff",
        b"{",
        b"[1]",
        b'{"id":"ok"}',
        b'{"id":"a","x":"\\ud800"}',
        b'{"id":"a","\\udfff":1}',
        b'{"id":"a","x":"\xed\xa0\x80"}',
        b"",
        b'{"text":"x"}',
        b'{"id":7}',
        b'{"id":"' + b"x" * 1025 + b'"}',
        b'{"id":"' + b"x" * 1024 + b'"}',
        b'{"id":"a","x":' + b"[" * 5000,
    ]
    appended, _, bad = run(io.BytesIO(b"\n".join(lines)), Sink())
    assert appended == 2
    assert [number for number, _ in bad] == [1, 2, 3, 5, 6, 7, 9, 10, 11, 13]
    assert all(reason for _, reason in bad)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"\r\n \n"])
def test_nothing(content: bytes) -> None:
    assert run(io.BytesIO(content), Sink()) == (0, 0, [])


def test_batches_are_bounded() -> None:
    sink = Sink()
    small = b"".join(b'{"id":"%d","time":""}\n' % number for number in range(2500))
    large = b"".join(b'{"id":"%d","text":"%s"}\n' % (number, b"x" * 900_000) for number in range(20))
    huge = b'{"id":"huge","text":"' + b"x" * (5 << 20) + b'"}\n'
    assert run(io.BytesIO(small + large + huge + small), sink)[0] == 5021
    assert max(count for count, _ in sink.batches) <= BATCH_LINES
    assert all(size <= BATCH_BYTES or count == 1 for count, size in sink.batches)


class Endless(io.RawIOBase):
    """One line that goes on and on, and a good one after it."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._left < 0:
            return 0
        chunk = b"x" * min(len(buffer), self._left) or b'\n{"id":"a"}\n'
        self._left -= len(chunk) if self._left else 1
        buffer[: len(chunk)] = chunk
        return len(chunk)


def test_a_line_that_is_too_long_is_never_held() -> None:
    tracemalloc.start()
    appended, _, bad = run(io.BufferedReader(Endless(200 << 20)), Sink())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (appended, bad) == (1, [(1, "longer than 64 MiB")])
    assert peak < 80 << 20


def test_a_large_file_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        for number in range(200_000):
            file.write(b'{"id":"doc-%d","text":"%s"}\n' % (number, b"word " * 40))

    def trace(appended: int, _rejected: int) -> None:
        if appended > 150_000 and not tracemalloc.is_tracing():  # from here on only: tracing is slow
            tracemalloc.start()

    async def scenario() -> tuple[int, int]:
        with path.open("rb") as stream:
            return await publish(stream, Sink(keep=False), SystemClock(), lambda *_: None, trace)

    assert asyncio.run(scenario()) == (200_000, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 << 20  # holding the last 50,000 lines would be 12 MB at least


def test_a_slow_pipe_is_appended_as_it_comes() -> None:
    sink = Sink()
    read_end, write_end = os.pipe()
    seen = threading.Event()

    def feed() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as pipe:
            pipe.write(b'{"id":"a"}\n{"id":')
            while not sink.changes and not seen.wait(0.01):
                pass
            pipe.write(b'"b"}')

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(read_end, "rb") as stream:
        assert run(stream, sink)[0] == 2
    feeder.join()
    assert [count for count, _ in sink.batches] == [1, 1]


def cut(lines: Lines, chunks: Iterator[bytes]) -> list[tuple[int, bytes | None]]:
    return [*(line for chunk in chunks for line in lines.feed(chunk)), *lines.end()]


@given(st.binary().map(lambda data: data.replace(b"x", b"\n")), st.integers(1, 9))
def test_lines_do_not_depend_on_how_they_come(data: bytes, size: int) -> None:
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    whole = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if data.endswith(b"\n") or not data:
        whole.pop()
    found = cut(Lines(max_bytes=5), chunks)
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    if not data.startswith(b"\xef\xbb\xbf"):
        assert [line for _, line in found] == [line if len(line) <= 5 else None for line in whole]


class Narrow(Sink):
    """A log that takes no record over 60 bytes."""

    async def append(self, changes: Sequence[Outgoing], position: SourcePosition | None = None) -> None:
        for index, change in enumerate(changes):
            if len(change.value or b"") > 60:
                raise Reject("too large", index)
        await super().append(changes, position)


def test_lines_that_the_log_does_not_take_are_rejected_and_the_others_appended() -> None:
    lines = [b'{"id":"%d","time":"x"}' % it + b" " for it in range(9)]
    for it in (0, 4, 5, 8):
        lines[it] = b'{"id":"%d","time":"%s"}' % (it, b"x" * 60)
    sink = Narrow()
    bad = [(it + 1, "too large") for it in (0, 4, 5, 8)]
    assert run(io.BytesIO(b"\n".join(lines)), sink) == (5, 4, bad)
    assert [change.key for change in sink.changes] == [b"1", b"2", b"3", b"6", b"7"]
    assert run(io.BytesIO(lines[0]), Narrow()) == (0, 1, bad[:1])
