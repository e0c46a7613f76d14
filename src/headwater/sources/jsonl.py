"""Reading changes as JSON lines from a stream, and appending them to the log: what `headwater publish` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import BinaryIO

from headwater.clock import Clock
from headwater.errors import Reject
from headwater.log.codecs.json import encode
from headwater.log.port import LogWriter
from headwater.model.change import Outgoing

MAX_LINE_BYTES = 64 << 20
BATCH_LINES = 1000
BATCH_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"

#: Told a bad line's number, from 1, and the reason.
OnBad = Callable[[int, str], None]
#: Told how many lines were appended and rejected so far, after each batch.
Progress = Callable[[int, int], None]


def _quiet(_appended: int, _rejected: int) -> None:
    return


async def publish(
    stream: BinaryIO, writer: LogWriter, clock: Clock, on_bad: OnBad, progress: Progress = _quiet
) -> tuple[int, int]:
    """Append every good line of the stream, in order, and return how many were appended and rejected.

    What was returned as appended is durable. Memory is bounded by a batch and a line. Blank lines are skipped. A line
    that comes slowly, through a pipe, is appended when it is there; nothing waits for a full batch.
    """
    tally = _Tally(writer, clock, on_bad, progress)
    lines = Lines()
    # One read gives what is there; `read` of a pipe would wait until all it was asked for has come.
    read = getattr(stream, "read1", stream.read)
    while chunk := await asyncio.to_thread(read, _CHUNK_BYTES):
        for number, line in lines.feed(chunk):
            await tally.take(number, line)
        await tally.flush()
    for number, line in lines.end():
        await tally.take(number, line)
    await tally.flush()
    return tally.appended, tally.rejected


class Lines:
    """PURE: cuts chunks into numbered lines. A line that grows too long is given as None, and never held whole."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._number = 1
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Give the lines that this chunk ends."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._hold(part)
            yield self._cut()
        self._hold(rest)

    def end(self) -> Iterator[tuple[int, bytes | None]]:
        """Give the last line, if no newline ended it."""
        if self._size:
            yield self._cut()

    def _hold(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._max_bytes:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _cut(self) -> tuple[int, bytes | None]:
        line = None if self._size > self._max_bytes else b"".join(self._parts)
        number = self._number
        self._number += 1
        self._parts.clear()
        self._size = 0
        return number, line.removeprefix(_BOM) if line and number == 1 else line


class _Tally:
    """The batch that is being filled, and what became of the lines before it."""

    def __init__(self, writer: LogWriter, clock: Clock, on_bad: OnBad, progress: Progress) -> None:
        self._writer = writer
        self._clock = clock
        self._on_bad = on_bad
        self._progress = progress
        self._batch: list[Outgoing] = []
        self._numbers: list[int] = []
        self._batch_bytes = 0
        self.appended = 0
        self.rejected = 0

    async def take(self, number: int, line: bytes | None) -> None:
        """Check one line and put it into the batch; append the batch when it is full."""
        if line is not None and not line.strip():
            return
        try:
            if line is None:
                raise Reject(f"longer than {MAX_LINE_BYTES >> 20} MiB")
            change = encode(line, self._clock.now_us())
        except Reject as error:
            self._reject(number, error)
            return
        size = len(change.key) + len(change.value or b"")
        if self._batch_bytes + size > BATCH_BYTES or len(self._batch) >= BATCH_LINES:
            await self.flush()
        self._batch.append(change)
        self._numbers.append(number)
        self._batch_bytes += size

    async def flush(self) -> None:
        """Append what is in the batch, but for what the log does not take."""
        if not self._batch:
            return
        while self._batch and (refused := await self._refused()):
            index, error = refused
            del self._batch[index]
            self._reject(self._numbers.pop(index), error)
        self.appended += len(self._batch)
        self._batch = []
        self._numbers = []
        self._batch_bytes = 0
        self._progress(self.appended, self.rejected)

    async def _refused(self) -> tuple[int, Reject] | None:
        """Append the batch. Return the index of a change that the log refuses: then the batch is to be appended again
        without it.
        """
        try:
            await self._writer.append(self._batch)
        except Reject as error:
            if error.index is None:
                raise
            return error.index, error
        return None

    def _reject(self, number: int, error: Reject) -> None:
        self.rejected += 1
        self._on_bad(number, error.reason)
