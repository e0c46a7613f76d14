"""Changes of the documentation's history, published without a pause by processes of their own."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

from tests.acceptance.corpus import Corpus
from tests.drills.ground import STREAM, Ground

#: What one process publishes. The largest documents of the history are 100 times the usual one.
BATCH, BATCH_CHARS = 60, 400_000
#: After so long a publisher is killed, and nobody knows what it has appended.
PATIENCE_S = 30.0


@dataclass
class Batch:
    """Lines that one publisher was given, and whether it said that all are durable."""

    lines: list[str]
    acknowledged: bool = False

    @property
    def changes(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


class Traffic(threading.Thread):
    """Publishes the load, and then parts of all releases again and again, each change with a text of its own."""

    def __init__(self, ground: Ground, corpus: Corpus, seed: int) -> None:
        super().__init__(name="traffic", daemon=True)
        self._ground = ground
        self._corpus = corpus
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._count = 0
        self.batches: list[Batch] = []
        self.failure: Exception | None = None

    def publish(self, changes: list[dict[str, Any]]) -> Batch:
        """Let a process publish these, and wait for it."""
        batch = Batch([self._line(change) for change in changes])
        self.batches.append(batch)
        path = self._ground.folder / "batch.jsonl"
        path.write_text("".join(line + "\n" for line in batch.lines))
        _, said = self._ground.headwater("publish", STREAM, str(path), timeout_s=PATIENCE_S)
        batch.acknowledged = f'{{"appended":{len(batch.lines)},"rejected":0}}' in said
        return batch

    def _line(self, change: dict[str, Any]) -> str:
        # A time of its own tells each change from all others.
        self._count += 1
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        return json.dumps({**change, "time": f"{moment}.{self._count:06}Z"})

    def load(self) -> Batch:
        """Publish the first release."""
        return self.publish(self._corpus.releases[0].changes)

    def slice(self) -> list[dict[str, Any]]:
        """Draw a part of a release. What it deletes may have been deleted before, or come again later."""
        release = self._random.choice(self._corpus.releases)
        start = self._random.randrange(len(release.changes))
        chosen: list[dict[str, Any]] = []
        size = 0
        for change in release.changes[start : start + BATCH]:
            size += len(change.get("text", ""))
            if size > BATCH_CHARS and chosen:
                break
            marked = f"{change['text']}\n\nRead {self._count + len(chosen)} times.\n" if "text" in change else None
            chosen.append(change if marked is None else {**change, "text": marked})
        return chosen

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self.publish(self.slice())
                self._over.wait(0.2)
        except Exception as error:  # noqa: BLE001 (shown by the thread that waits for this one)
            self.failure = error

    def end(self) -> None:
        """Publish nothing more; wait for what is under way."""
        self._over.set()
        if self.is_alive():
            self.join(2 * PATIENCE_S)
        if self.failure:
            raise self.failure
