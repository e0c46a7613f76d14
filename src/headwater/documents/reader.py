"""The reader: a few worker processes, each served by a thread, and the questions that wait for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from headwater.documents.frames import Killed, Question, Read, Rejected, Retried, Slow
from headwater.documents.limits import Limits, quick
from headwater.documents.port import Answer, Extracted, Load
from headwater.documents.process import DEPENDENCY, PROGRAM, WorkerGone, WorkerProcess
from headwater.errors import HeadwaterError, Reject, Retry

WORKERS = 2
#: A worker that has nothing to do for so long ends: a folder at rest keeps no process.
IDLE_S = 30.0
_CLOSING_S = 10.0
_DEFAULT = Limits()


class _Waiting(NamedTuple):
    ticket: object
    load: Load
    #: It was given up once, because it took long.
    slow: bool = False


class SandboxedReader:
    """A Reader. Every document is parsed in a process of its own, within `limits`.

    A document gets little time at first. One that takes longer is read again with all of its time, but never by the
    last worker: that one is there for the others. So at least two workers are needed. Memory: each worker holds one
    document and its text, and answers that nobody fetches are at most three a worker.
    """

    def __init__(self, limits: Limits = _DEFAULT, workers: int = WORKERS, program: Sequence[str] = PROGRAM) -> None:
        if workers < 2:
            raise ValueError(f"{workers} workers: the last one is kept for documents that are read quickly")
        self._limits = limits
        self._workers = workers
        self._program = program
        self._state = threading.Condition()
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._slow: OrderedDict[str, _Waiting] = OrderedDict()
        #: What is read now: one question of a name at a time. True for one that takes long.
        self._running: dict[str, bool] = {}
        self._answers: list[Answer] = []
        self._defect: BaseException | None = None
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._processes: set[WorkerProcess] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"SandboxedReader({self._workers} workers, {self.outstanding()} outstanding)"

    def ask(self, name: str, ticket: object, load: Load) -> None:
        with self._state:
            if self._closed:
                raise RuntimeError("the reader is closed")
            self._slow.pop(name, None)
            self._waiting[name] = _Waiting(ticket, load)
            if len(self._waiting) > self._idle and len(self._threads) < self._workers:
                thread = threading.Thread(target=self._work, name="document reader", daemon=True)
                self._threads.add(thread)
                thread.start()
            self._state.notify_all()

    def answers(self, wait_s: float) -> list[Answer]:
        with self._state:
            self._state.wait_for(lambda: self._answers or self._defect or not self._open(), wait_s)
            if self._defect is not None:
                raise self._defect
            found, self._answers = self._answers, []
            self._state.notify_all()
            return found

    def outstanding(self) -> int:
        with self._state:
            return self._open() + len(self._answers)

    def close(self) -> None:
        with self._state:
            self._closed = True
            self._waiting.clear()
            self._slow.clear()
            self._answers.clear()
            for process in self._processes:
                process.kill()
            threads = tuple(self._threads)
            self._state.notify_all()
        for thread in threads:
            thread.join(_CLOSING_S)  # one that still waits for a file ends when it has it

    def _open(self) -> int:
        return len(self._waiting) + len(self._slow) + len(self._running)

    def _work(self) -> None:
        """Serve questions until none came for a while. A thread's whole life."""
        process: WorkerProcess | None = None
        try:
            while (taken := self._take()) is not None:
                name, waiting = taken
                outcome, process = self._read(name, waiting, process)
                self._put(name, waiting, outcome)
        except BaseException as error:  # noqa: BLE001 - a defect: told to whoever fetches answers, not to a dying thread
            with self._state:
                self._defect = error
                self._state.notify_all()
        finally:
            self._end(process)
            with self._state:
                self._threads.discard(threading.current_thread())

    def _take(self) -> tuple[str, _Waiting] | None:
        """Return the next question; None when there was none for a while."""
        with self._state:
            self._idle += 1
            try:
                self._state.wait_for(lambda: self._closed or self._next() is not None, IDLE_S)
                found = None if self._closed else self._next()
                if found is None:
                    # Under the same lock as `ask` looks at it: no question falls between.
                    self._threads.discard(threading.current_thread())
                    return None
                name, queue = found
                waiting = queue.pop(name)
                self._running[name] = waiting.slow
                return name, waiting
            finally:
                self._idle -= 1

    def _next(self) -> tuple[str, OrderedDict[str, _Waiting]] | None:
        """Choose: quick ones first, no name twice at a time, nothing while too many answers are not fetched."""
        if len(self._answers) >= 2 * self._workers:
            return None
        queues = [self._waiting]
        if sum(self._running.values()) < self._workers - 1:
            queues.append(self._slow)
        for queue in queues:
            for name in queue:
                if name not in self._running:
                    return name, queue
        return None

    def _put(self, name: str, waiting: _Waiting, outcome: Extracted | HeadwaterError | Slow | None) -> None:
        with self._state:
            del self._running[name]
            if isinstance(outcome, Slow) and name in self._waiting:
                outcome = None  # a newer question waits: nobody needs this one any more
            if isinstance(outcome, Slow):
                self._slow[name] = waiting._replace(slow=True)
            elif not self._closed:
                assert outcome is None or isinstance(outcome, Extracted | Reject | Retry)
                self._answers.append(Answer(name, waiting.ticket, outcome))
            self._state.notify_all()

    def _read(
        self, name: str, waiting: _Waiting, process: WorkerProcess | None
    ) -> tuple[Extracted | HeadwaterError | Slow | None, WorkerProcess | None]:
        """Load and read one document; return the outcome, and the worker if it still lives."""
        try:
            data = waiting.load()
        except (Reject, Retry) as error:
            return error, process
        if data is None:
            return None, process
        limits = self._limits if waiting.slow else quick(self._limits)
        question = Question(name, data, limits)
        # A worker looks into no document, so one that is gone is not the document's doing. If two are, it is; and so it
        # is with what was killed.
        for _ in range(2):
            try:
                process = process or self._begin()
                reply = process.ask(question)
                if not isinstance(reply, Killed):
                    return self._outcome(reply, limits), process
            except Retry as error:
                return error, process
            except WorkerGone:
                self._end(process)
                process = None
            if self._closed:
                return None, process
        return Reject("the process that read it was killed, twice"), process

    def _outcome(self, reply: Read | Rejected | Slow | Retried, limits: Limits) -> Extracted | HeadwaterError | Slow:
        if isinstance(reply, Read):
            return reply.extracted
        if isinstance(reply, Slow):
            return reply if limits != self._limits else Reject(reply.reason)
        if isinstance(reply, Rejected):
            return Reject(reply.reason)
        return Retry(DEPENDENCY, reply.cause)

    def _begin(self) -> WorkerProcess:
        process = WorkerProcess(self._program)
        with self._state:
            self._processes.add(process)
            if self._closed:
                process.kill()
        return process

    def _end(self, process: WorkerProcess | None) -> None:
        if process is not None:
            with self._state:
                self._processes.discard(process)
            process.end()
