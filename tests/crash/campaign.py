"""A campaign: changes are published without a pause while workers and publishers die, one after the other."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from headwater.testing.crashing import Point
from tests.crash.corpus import Corpus
from tests.crash.places import Places

ROOT = Path(__file__).parents[2]
LEAST = 5
#: A guard against hanging: every point is passed many times a second.
PATIENCE_S = 60.0

#: Who dies, and where: the publisher, the worker by itself, the worker by another's hand.
PUBLISHER = {"publish-inside": Point.APPEND_INSIDE, "published": Point.APPENDED}
WORKER = {
    "embedding": Point.EMBEDDING,
    "embedded": Point.EMBEDDED,
    "apply-inside": Point.APPLY_INSIDE,
    "applied": Point.APPLIED,
    "settle-inside": Point.SETTLE_INSIDE,
    "settled": Point.SETTLED,
    "folder-inside": Point.APPEND_INSIDE,
    "folder-appended": Point.APPENDED,
}
#: The points that are counted; two that are named together share a count.
POINTS = {
    "publish": ("publish-inside", "published"),
    "embed": ("embedding", "embedded"),
    "apply": ("apply-inside",),
    "applied": ("applied",),
    "settle": ("settle-inside",),
    "settled": ("settled",),
    "folder": ("folder-inside", "folder-appended"),
    "any time": ("any time",),
}


@dataclass
class Batch:
    """Lines that were given to the publisher, and whether it acknowledged them."""

    lines: list[str]
    acknowledged: bool = False


@dataclass
class Report:
    """What a campaign did."""

    seed: int
    layout: str
    hits: Counter[str] = field(default_factory=Counter)
    batches: list[Batch] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    doubtful_found: int = 0
    settled: int = 0

    @property
    def never(self) -> list[str]:
        return [point for point in POINTS if self.hits[point] < LEAST]

    def __str__(self) -> str:
        acknowledged = sum(len(batch.lines) for batch in self.batches if batch.acknowledged)
        doubtful = sum(not batch.acknowledged for batch in self.batches)
        return (
            f"crash, seed {self.seed}, {self.layout}: {self.hits.total()} kills ("
            + ", ".join(f"{point} {self.hits[point]}" for point in POINTS)
            + f"); {acknowledged} changes acknowledged, {self.doubtful_found} of {doubtful} doubtful batches were "
            f"there; {self.settled} offsets settled; {len(self.violations)} violations"
        )


class Publishing(threading.Thread):
    """Publishes and edits files without a pause, and starts the publisher again when it has died."""

    def __init__(self, places: Places, seed: int) -> None:
        super().__init__(daemon=True)
        self._places = places
        self._corpus = Corpus(seed)
        self._over = threading.Event()
        self._order: tuple[Point, int] | None = None
        self._died = threading.Event()
        self.batches: list[Batch] = []
        self.failure: Exception | None = None
        self.last_words = ""

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self._serve()
        except Exception as error:  # noqa: BLE001 (shown by the thread that waits for this one)
            self.failure = error
            self._died.set()

    def _serve(self) -> None:
        """Publish until the process dies, or until it is over."""
        with started("tests.crash.publisher", self._places.config) as (publisher, stdin, stdout):
            while not self._over.is_set():
                batch = Batch(self._corpus.batch())
                point, nth = self._order or (None, 0)
                stdin.write(json.dumps({"lines": batch.lines, "die": point, "nth": nth}) + "\n")
                stdin.flush()
                self.batches.append(batch)
                batch.acknowledged = stdout.readline() == "appended\n"
                if not batch.acknowledged:
                    self._buried(publisher)
                    return
                self._corpus.edit(self._places.docs)
                time.sleep(0.01)

    def _buried(self, publisher: subprocess.Popen[str]) -> None:
        assert publisher.stderr is not None
        self.last_words = publisher.stderr.read().strip()
        assert publisher.wait() == -signal.SIGKILL, self.last_words
        if self._order:
            self._order = None
            self._died.set()

    def kill(self, point: Point, nth: int) -> str:
        """Let the publisher die in one of its next batches; return its last words."""
        self._died.clear()
        self._order = (point, nth)
        assert self._died.wait(PATIENCE_S), f"the publisher never came to {point}"
        if self.failure:
            raise self.failure
        return self.last_words

    def end(self) -> None:
        self._over.set()
        self.join(PATIENCE_S)
        if self.failure:
            raise self.failure


@contextmanager
def started(module: str, config: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str], IO[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(config)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process:
            yield process, process.stdin, process.stdout
            process.stdin.close()
    finally:
        if process.poll() is None:
            process.kill()


class Nursery:
    """The workers, one at a time."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._said: list[str] = []

    def bear(self, point: Point | None = None, nth: int = 0) -> int:
        """Start a worker; return its process id."""
        self._stdin.write(json.dumps({"point": point, "nth": nth}) + "\n")
        self._stdin.flush()
        self._said = []
        return int(self._hear("born").split()[1])

    def begun(self) -> None:
        """Wait until it has opened the stream."""
        self._hear("started")

    def ended(self) -> tuple[int, str]:
        """Wait until it is gone; return its exit code and its last words."""
        code = int(self._hear("ended").split()[1])
        return code, next((line for line in self._said if line.startswith("died")), "")

    def _hear(self, what: str) -> str:
        # What the worker says may come before what the nursery says about its birth.
        for line in self._said:
            if line.startswith(what):
                return line
        for line in self._stdout:
            self._said.append(line.strip())
            if line.startswith(what):
                return line
        raise AssertionError(f"the nursery ended before {what!r}: {self._said}")


def plan(kills: int, chance: random.Random) -> list[str]:
    """Return the point of each kill: all of them in turns, in a new order each time; their variants in turns too."""
    names = list(POINTS)
    turns = [chance.sample(names, len(names)) for _ in range(kills // len(names) + 1)]
    flat = [name for turn in turns for name in turn][:kills]
    seen: Counter[str] = Counter()
    chosen = []
    for name in flat:
        variants = POINTS[name]
        chosen.append(variants[seen[name] % len(variants)])
        seen[name] += 1
    return chosen


def point_of(variant: str) -> str:
    return next(name for name, variants in POINTS.items() if variant in variants)


def run(places: Places, kills: int, seed: int, layout: str) -> Report:
    """Kill so often; leave the folder as the last death left it."""
    report = Report(seed, layout)
    chance = random.Random(seed)
    publishing = Publishing(places, seed)
    publishing.start()
    with started("tests.crash.nursery", places.config) as (process, stdin, stdout):
        watchdog = threading.Timer(PATIENCE_S * 2 + kills * 10, process.kill)
        watchdog.daemon = True
        watchdog.start()
        nursery = Nursery(stdin, stdout)
        for variant in plan(kills, chance):
            report.hits[point_of(variant)] += kill(variant, nursery, publishing, chance)
        watchdog.cancel()
    publishing.end()
    report.batches = publishing.batches
    return report


def kill(variant: str, nursery: Nursery, publishing: Publishing, chance: random.Random) -> bool:
    """Let one process die at this point, and make sure that it did."""
    if variant in PUBLISHER:
        worker = nursery.bear()
        nursery.begun()
        nth = chance.randint(1, 8) if variant == "publish-inside" else 1
        assert publishing.kill(PUBLISHER[variant], nth) == f"died {PUBLISHER[variant]}"
        send(worker, signal.SIGTERM)
        assert nursery.ended() == (0, "")
    elif variant in WORKER:
        inside = variant.endswith("inside")
        nursery.bear(WORKER[variant], chance.randint(1, 40 if inside else 6))
        assert nursery.ended() == (-signal.SIGKILL, f"died {WORKER[variant]}")
    else:
        worker = nursery.bear()
        if chance.random() < 0.7:
            nursery.begun()
        time.sleep(chance.random() * 0.5)
        send(worker, signal.SIGKILL)
        assert nursery.ended() == (-signal.SIGKILL, "")
    return True


def send(process: int, what: signal.Signals) -> None:
    os.kill(process, what)
