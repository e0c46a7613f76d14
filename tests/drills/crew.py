"""The workers of a drill: started, killed, stopped and woken, asked to leave; and what they said meanwhile."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.drills.ground import SESSION_S, Ground
from tests.drills.worker import STOPPING
from tests.kafka.process import Kept, soon

#: How long a stopped worker sleeps: by then the group has given its partitions to others.
ASLEEP_S = SESSION_S + 4.0
#: How often an index write is applied and then reported as timed out.
TIMEOUT_RATE = 0.1
#: A graceful end may have to wait for brokers that are away.
LEAVE_S = 45.0

#: The exit code of a worker that could not begin because a dependency was away.
AWAY = 4

Events = list[dict[str, Any]]


class Worker:
    """One worker process. `fate` is why it ends, or has."""

    def __init__(self, kept: Kept, *, harmed: bool) -> None:
        self.kept = kept
        self.harmed = harmed
        self.events: Events = []
        self.fate: str | None = None
        self.wakes_at: float | None = None
        self.haunted = False  # it was asked to stop itself, and has not done so yet
        self._read = 0

    def listen(self) -> Events:
        """Return what it told since the last call."""
        with self.kept.log.open("rb") as file:
            file.seek(self._read)
            lines = file.read().rpartition(b"\n")[0]
        self._read += len(lines) + 1 if lines else 0
        news = [event for line in lines.splitlines() if (event := _event(line))]
        self.events += news
        return news

    @property
    def awake(self) -> bool:
        """Whether it is at work, and nothing is going to happen to it."""
        return self.fate is None and self.wakes_at is None and not self.haunted

    @property
    def last_words(self) -> str:
        """The end of its log, without the measurements that come every second."""
        lines = self.kept.log.read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if "log.measured" not in line][-30:]) or "no word"

    @property
    def begun(self) -> bool:
        return any(event["event"] == "partitions.moved" for event in self.events)


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


class Crew:
    """Keeps some workers at work, and does them harm."""

    def __init__(self, ground: Ground, chance: random.Random, done: Counter[str], size: int = 3) -> None:
        """`done` counts what was done to them."""
        self._ground = ground
        self._chance = chance
        self._size = size
        self.done = done
        self.workers: list[Worker] = []
        self.complaints: list[str] = []
        self._settled_at = time.monotonic()

    # ── one of them ──

    def hire(self) -> Worker:
        """Start a worker. Every second one is the command as it is; half of each kind go through the proxies."""
        number = len(self.workers)
        config = self._ground.proxied if number % 4 in (1, 2) else self._ground.direct
        arguments = ["--config", str(config), "run", "--log-format", "json", "--verbose"]
        harmed = number % 2 == 0
        if harmed:
            harm = [str(self._chance.randrange(1 << 30)), str(TIMEOUT_RATE)]
            kept = self._ground.start("harmed", "tests.drills.worker", [*harm, *arguments])
        else:
            kept = self._ground.start("worker", "headwater", arguments)
        worker = Worker(kept, harmed=harmed)
        self.workers.append(worker)
        return worker

    def kill(self) -> None:
        """SIGKILL."""
        if worker := self._one(lambda it: it.begun):
            worker.fate = "killed"
            worker.kept.kill()
            self.done["kills"] += 1

    def freeze(self) -> None:
        """SIGSTOP, wherever it is."""
        if worker := self._one(lambda it: it.begun):
            worker.kept.send(signal.SIGSTOP)
            worker.wakes_at = time.monotonic() + ASLEEP_S
            self.done["stops"] += 1

    def haunt(self) -> None:
        """Ask one to stop itself right before its next write."""
        if worker := self._one(lambda it: it.begun and it.harmed):
            worker.haunted = True
            worker.kept.send(signal.SIGUSR1)

    def leave(self) -> None:
        """SIGTERM: what is in flight is settled first."""
        if worker := self._one(lambda it: it.begun):
            self._dismiss(worker)
            self.done["leaves"] += 1

    def join(self) -> None:
        """One more than there should be."""
        self.hire()
        self.done["joins"] += 1

    def _one(self, fits: Callable[[Worker], bool]) -> Worker | None:
        """Choose one at random, but never the last that is at work."""
        awake = [worker for worker in self.workers if worker.awake]
        fitting = [worker for worker in awake if fits(worker)]
        return self._chance.choice(fitting) if len(awake) > 1 and fitting else None

    def _dismiss(self, worker: Worker) -> None:
        worker.fate = "left"
        worker.kept.send(signal.SIGTERM)

    # ── all of them ──

    def look(self) -> None:
        """Hear them, wake who has slept enough, and keep up their number."""
        now = time.monotonic()
        for worker in self.workers:
            news = [event["event"] for event in worker.listen()]
            if "changes.settled" in news or "partitions.moved" in news:
                self._settled_at = now
            if STOPPING in news:
                worker.haunted = False
                worker.wakes_at = now + ASLEEP_S
                self.done["zombies"] += 1
            if worker.wakes_at is not None and now >= worker.wakes_at:
                worker.wakes_at = None
                worker.kept.send(signal.SIGCONT)
            if worker.fate is None and not worker.kept.is_running():
                self._ended(worker)
        awake = sum(worker.awake for worker in self.workers)
        for _ in range(self._size - awake):
            self.hire()
        if awake > self._size + 1:  # those that came back
            self.leave()

    def _ended(self, worker: Worker) -> None:
        """One has ended that nobody did anything to: right only where it could not begin, for want of brokers."""
        code = worker.kept._keeper.returncode
        worker.fate = f"ended with {code}"
        if code == AWAY and not worker.begun:
            self.done["starts in vain"] += 1
        else:
            self.complaints.append(f"a worker {worker.fate}: {worker.last_words}")

    @property
    def asleep(self) -> bool:
        """Whether one of them is still to be woken."""
        return any(worker.fate is None and worker.wakes_at is not None for worker in self.workers)

    def end(self) -> None:
        """Let all leave in order; complain of those that do not."""
        for worker in self.workers:
            if worker.fate is None:
                self._dismiss(worker)
        for worker in self.workers:
            if not soon(lambda it=worker: self._gone(it), LEAVE_S):  # type: ignore[misc]  # bound on purpose
                worker.kept.send(signal.SIGABRT)
                worker.kept.wait(5)
                self.complaints.append(f"a worker does not leave: {worker.last_words}")
                worker.kept.kill()
            worker.listen()

    def abort(self) -> None:
        """Let all that live show in their logs what they are at, and die."""
        for worker in self.workers:
            if worker.fate is None:
                worker.fate = "aborted"
                worker.kept.send(signal.SIGABRT)

    def _gone(self, worker: Worker) -> bool:
        worker.kept.send(signal.SIGCONT)  # it may have stopped itself only now
        return not worker.kept.is_running()

    @property
    def idle_s(self) -> float:
        """For how long none of them has settled anything, or got any partition."""
        return time.monotonic() - self._settled_at

    def settling(self) -> bool:
        """Whether any of them has settled something."""
        self.look()
        return any(event["event"] == "changes.settled" for event in self.heard())

    def heard(self) -> Events:
        """All that all workers told."""
        return [event for worker in self.workers for event in worker.events]
