"""The program of a worker: loads the parsers once, and forks a process of its own for every document.

Each document is parsed by a fresh process that sees no other document and ends with it. This one never looks into a
document, so it lives through whatever they do. It ends when its input ends, or its parent.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
from contextlib import suppress
from typing import BinaryIO

import msgspec

from headwater.clock import SystemClock
from headwater.documents import confine, frames
from headwater.documents.frames import Killed, Question, Read, Rejected, Reply, Retried, Slow
from headwater.documents.limits import Limits
from headwater.documents.parsing import Parsers
from headwater.errors import Reject

_CHUNK = 1 << 20
_LONGEST_REASON = 300
#: A reply is the text and what is around it.
_AROUND = 1 << 20
_CLOCK = SystemClock()
#: How whoever stops a service, or the kernel when memory is short, ends a process. No parser does it to itself.
_FROM_OUTSIDE = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def main(parsers: Parsers | None = None) -> None:
    """Serve questions from standard input until it ends. The first argument is the parent's process id."""
    confine.die_with(int(sys.argv[1]))
    questions, replies = _take_channels()
    parsers = parsers or Parsers()
    gc.freeze()  # what is loaded stays shared with the forks
    while (data := frames.read(questions)) is not None:
        question = msgspec.msgpack.decode(data, type=Question)
        frames.write(replies, msgspec.msgpack.encode(_answer(parsers, question)))


def _take_channels() -> tuple[BinaryIO, BinaryIO]:
    """Move the channels away from where parsers print, and leave nothing there."""
    questions, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return questions, replies


def _answer(parsers: Parsers, question: Question) -> Reply:
    parent = os.getpid()
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        return Retried(f"no process can be started: {error.strerror}")
    if child == 0:
        _be_child(parsers, question, parent, writing)
    os.close(writing)
    data, refusal = _collect(reading, question.limits)
    os.close(reading)
    if refusal is not None:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # whatever it started, though it may not
    return refusal or _judge(data, status, usage.ru_utime + usage.ru_stime, question.limits)


def _be_child(parsers: Parsers, question: Question, parent: int, writing: int) -> None:
    """Parse, write the reply, and end. Never returns."""
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.closerange(3, writing)
        os.closerange(writing + 1, 256)
        confine.confine(question.limits, parent)
        data = memoryview(msgspec.msgpack.encode(_parse(parsers, question)))
        while data:
            data = data[os.write(writing, data) :]
        os._exit(0)
    finally:
        os._exit(2)


def _parse(parsers: Parsers, question: Question) -> Reply:
    try:
        found = parsers.parse(question.name, question.data, question.limits.text_bytes)
    except Reject as error:
        return Rejected(error.reason[:_LONGEST_REASON])
    return Read(found)


def _collect(reading: int, limits: Limits) -> tuple[bytes, Reply | None]:
    """Read what the child writes until it ends. When that is too long or too much, return what it means instead."""
    deadline = _CLOCK.monotonic() + limits.wall_s
    most = limits.text_bytes + _AROUND
    data = bytearray()
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    while True:
        left = deadline - _CLOCK.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            return b"", Slow(f"reading it took longer than {limits.wall_s:g} s")
        chunk = os.read(reading, _CHUNK)
        if not chunk:
            return bytes(data), None
        data += chunk
        if len(data) > most:
            return b"", Rejected(f"it holds over {limits.text_bytes >> 20} MiB of text")


def _judge(data: bytes, status: int, cpu_s: float, limits: Limits) -> Reply:
    """Say what became of a child by what it wrote, how it ended, and its processor time. It is not trusted: its reply
    must be one.
    """
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        try:
            reply = frames.REPLY.decode(data)
        except msgspec.MsgspecError:
            return Rejected("the parser wrote no answer")
        if isinstance(reply, Read):
            return reply
        return Rejected(reply.reason if isinstance(reply, Rejected) else "the parser wrote no answer")
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and cpu_s >= limits.cpu_s):
        return Slow(f"reading it takes more than {limits.cpu_s} s of processor time")
    if code == confine.OVER_MEMORY:
        return Rejected("it needs more memory to be read than a document may take")
    if -code in _FROM_OUTSIDE:
        return Killed()
    if code < 0:
        return Rejected(f"the parser crashed on it ({signal.Signals(-code).name})")
    return Rejected(f"the parser crashed on it (status {code})")


if __name__ == "__main__":
    main()
