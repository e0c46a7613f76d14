"""Several workers of one stream: what a second one brings, and how soon a survivor goes on for one that was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from confluent_kafka import TopicPartition

from bench.kafka_site import STREAM, broker, configure, skipped
from bench.report import Figure
from tests.kafka.client import Kafka

PARTITIONS = 8
DOCUMENTS = 6_000
SESSION_S = 6
ROUNDS = 2
WAIT_S = 120.0


def measure() -> list[Figure]:
    """Put the same number of changes through one worker and through two; then kill one of two."""
    if (none := skipped()) is not None:
        return none
    with broker() as kafka:
        alone, pair = [], []
        for _ in range(ROUNDS):
            alone.append(_through(kafka, 1))
            pair.append(_through(kafka, 2))
        took_s = _failover(kafka)
    one, two = min(it for it, _ in alone), min(it for it, _ in pair)
    return [
        Figure("two workers, a remote model, against one", "documents/s", DOCUMENTS / two, DOCUMENTS / one, one / two,
               ">= 1.7"),
        Figure("one worker with a remote model", "core", min(it for _, it in alone), target="<= 0.25"),
        Figure(f"a worker killed to the first change applied for it, session time-out {SESSION_S} s", "s", took_s,
               float(SESSION_S), took_s / SESSION_S),
    ]  # fmt: skip


class Worker:
    """A worker process, and the partitions that it has."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", "bench.kafka_worker", str(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.partitions: set[int] = set()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            moved = json.loads(line)
            self.partitions = (self.partitions - set(moved["revoked"])) | set(moved["assigned"])

    def cpu_s(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listener.join()


@contextmanager
def _crew(kafka: Kafka, count: int) -> Iterator[tuple[list[Worker], str, str]]:
    """Start workers that share a topic evenly; give them, the topic and the stream's prefix."""
    topic = kafka.topic(partitions=PARTITIONS)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        config = configure(Path(name), kafka, topic, log=f", session_timeout: {SESSION_S}s")
        prefix = config.read_text().split("prefix: ")[1].split(",")[0]
        workers = []
        for _ in range(count):
            workers.append(Worker(config))
            stack.callback(workers[-1].end)
            # One after another: the first makes topics and index.
            _until(lambda: workers[-1].partitions)
        _until(lambda: all(len(worker.partitions) == PARTITIONS // count for worker in workers))
        yield workers, topic, prefix


def _through(kafka: Kafka, count: int) -> tuple[float, float]:
    """Return the seconds for all documents, and the share of a core that the first worker took."""
    with _crew(kafka, count) as (workers, topic, prefix):
        before_s, began = workers[0].cpu_s(), time.perf_counter()
        kafka.produce(topic, _records(DOCUMENTS), linger_ms=20)
        with kafka.consumer([], group_id=f"{prefix}.{STREAM}") as looking:
            wanted = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
            ends = sum(looking.get_watermark_offsets(it)[1] for it in wanted)
            _until(lambda: sum(max(0, it.offset) for it in looking.committed(wanted)) >= ends)
        seconds = time.perf_counter() - began
        return seconds, (workers[0].cpu_s() - before_s) / seconds


def _failover(kafka: Kafka) -> float:
    """Kill one of two workers under steady traffic; return how long nothing of its partitions was applied."""
    with _crew(kafka, 2) as (workers, topic, prefix):
        orphaned = set(workers[0].partitions)
        kafka.produce(topic, _records(200))
        killed_us = 0
        receipts = f"{prefix}.{STREAM}.receipts"
        until = time.monotonic() + WAIT_S
        for turn in range(10_000):
            kafka.produce(topic, _records(40, turn))
            time.sleep(0.2)
            if turn == 10:
                os.kill(workers[0].process.pid, signal.SIGKILL)
                killed_us = time.time_ns() // 1000
            if turn > 10 and orphaned <= workers[1].partitions:
                break
            assert time.monotonic() < until, "nobody took the partitions over"
        found: list[int] = []
        while not found:
            assert time.monotonic() < until, "the successor applies nothing"
            found = [it for it in _applied(kafka, receipts, orphaned) if it > killed_us]
        return (min(found) - killed_us) / 1e6


def _applied(kafka: Kafka, topic: str, partitions: set[int]) -> Iterator[int]:
    """Yield when changes of these partitions were applied."""
    for message in kafka.read(topic, 100_000, timeout_s=4, isolation_level="read_committed"):
        line = json.loads(message.value() or b"")
        if line.get("partition") in partitions and line.get("applied_us"):
            yield line["applied_us"]


def _records(count: int, turn: int = -1) -> Sequence[tuple[bytes, bytes]]:
    return [
        (f"document/{turn}/{at}".encode(), json.dumps({"text": f"What was measured at gauge {at} in {turn}."}).encode())
        for at in range(count)
    ]


def _until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < until, "it did not come to that in time"
        time.sleep(0.02)
