"""A worker process, as its owner sees it: asked one question at a time, killed when it does not answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from headwater.documents import frames
from headwater.documents.frames import Question, Reply
from headwater.errors import Retry

PROGRAM = ("-P", "-m", "headwater.documents.worker")
#: A worker enforces a document's limits itself. It is killed when it is this late.
_GRACE_S = 15.0
#: More than any answer that a worker lets through.
_AROUND = 4 << 20
#: Nothing else of the environment, which holds keys and proxies, is for parsers.
_INHERITED = ("LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "SYSTEMROOT")
DEPENDENCY = "the reader of documents"


class WorkerGone(Exception):
    """The worker ended, or was killed because it did not answer."""


class WorkerProcess:
    """A process of its own session. The thread that starts it must outlive it: on Linux it dies with that thread."""

    def __init__(self, program: Sequence[str] = PROGRAM) -> None:
        self._reaping = threading.Lock()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [sys.executable, *program, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise Retry(DEPENDENCY, f"no process can be started: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"WorkerProcess({self._process.pid})"

    def ask(self, question: Question) -> Reply:
        """Return the reply. Raise WorkerGone without one; the process is of no use then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Timer(question.limits.wall_s + _GRACE_S, self.kill)
        late.daemon = True
        late.start()
        try:
            frames.write(self._process.stdin, msgspec.msgpack.encode(question))
            data = frames.read(self._process.stdout, question.limits.text_bytes + _AROUND)
            if data is None:
                raise WorkerGone
            return frames.REPLY.decode(data)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise WorkerGone from error
        finally:
            late.cancel()

    def kill(self) -> None:
        """Kill it and what it started. From any thread."""
        with self._reaping, suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        with self._reaping:  # or its id might be another's when somebody kills it
            self._process.wait()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path)
    return {**kept, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
