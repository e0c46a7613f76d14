"""The drills: what harm is done in each, to what, and in which order."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.corpus import Corpus
from tests.drills.crew import Crew
from tests.drills.ground import BROKER, SESSION_S, Ground
from tests.drills.judge import Judgement, behind, judge
from tests.drills.traffic import Traffic
from tests.kafka.broker import Broker
from tests.kafka.client import Kafka
from tests.kafka.cluster import Cluster
from tests.kafka.process import fresh_folder, soon
from tests.kafka.proxy import TO_CLIENT

BLACKHOLE_S = SESSION_S + 2.0
DOWN_S = 4.0
#: Between two harms.
PACE_S = 2.0
START_S = 60.0
CATCH_UP_S = 120.0
LONGER = 3.0

SESSION = {"session_timeout": f"{SESSION_S:.0f}s"}
WORKERS = ("haunt", "kill", "haunt", "freeze", "leave", "join")


@dataclass(frozen=True)
class Drill:
    """One drill: how many brokers, the configuration's log, and the harm, in turns of a random order."""

    brokers: int = 1
    log: Mapping[str, object] = field(default_factory=lambda: SESSION)
    harm: tuple[str, ...] = WORKERS
    compacted: bool = False


DRILLS = {
    "workers": Drill(),
    "consumer": Drill(log={"rebalance": "consumer"}),
    "plain": Drill(log={**SESSION, "receipts": "plain"}),
    "brokers": Drill(
        brokers=3, log={**SESSION, "replication": 3}, harm=("broker", "haunt", "blackhole", "kill", "haunt")
    ),
    "compact": Drill(log={**SESSION, "cleanup": "compact"}, compacted=True),
}


@dataclass
class Report:
    """What a drill did and what was found."""

    name: str
    seed: int
    done: Counter[str]
    counts: Counter[str]
    judgement: Judgement
    seconds: float

    @property
    def harmless(self) -> list[str]:
        """What never occurred, so that little was shown about it."""
        return [what for what in MUST_OCCUR if not self.counts[what]]

    def __str__(self) -> str:
        done, counts, found = self.done, self.counts, self.judgement
        return (
            f"drill {self.name}, seed {self.seed}, {self.seconds:.0f} s: "
            + ", ".join(f"{count} {what}" for what, count in sorted(done.items()))
            + "; "
            + ", ".join(f"{counts[what]} {what}" for what in COUNTED)
            + f"; {found.records} records, {found.receipts} receipts, {found.repeats} settled twice, "
            f"{found.doubtful} doubtful ones there; {len(found.violations)} violations"
        )


#: Without each of these a drill has shown little.
MUST_OCCUR = ("rebalances", "fenced settlements", "stale applies")
COUNTED = (*MUST_OCCUR, "conflicts", "timed-out applies", "outages")


def counted(events: list[dict[str, Any]]) -> Counter[str]:
    """Count what the workers told."""
    counts = Counter[str]()
    names = {
        "partitions.moved": "rebalances",
        "settlement.fenced": "fenced settlements",
        "drill.timed-out": "timed-out applies",
        "outage.began": "outages",
    }
    for event in events:
        if event["event"] == "writes.refused":
            counts["stale applies" if event["verdict"] == "stale" else "conflicts"] += event["documents"]
        elif name := names.get(event["event"]):
            counts[name] += 1
    return counts


class Brokers:
    """One broker or three, each behind a proxy, and what harm is done to them."""

    def __init__(self, count: int, chance: random.Random, done: Counter[str]) -> None:
        self._chance = chance
        self._done = done
        self._cluster = Cluster(count, overrides=BROKER, proxied=True) if count > 1 else None
        self._all = self._cluster.brokers if self._cluster else [Broker(overrides=BROKER, proxied=True)]
        self._healed_at: float | None = None
        self._down: Broker | None = None
        self._started_at: float | None = None

    def __enter__(self) -> Brokers:
        (self._cluster or self._all[0]).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        (self._cluster or self._all[0]).close()

    @property
    def client(self) -> Kafka:
        return (self._cluster or self._all[0]).client

    @property
    def proxied(self) -> Kafka:
        return (self._cluster or self._all[0]).proxied

    def blackhole(self) -> None:
        """Requests arrive and are obeyed; the answers to all clients behind the proxies are held back."""
        if self._healed_at is None:
            for broker in self._all:
                broker.proxy.stall(TO_CLIENT)
            self._healed_at = time.monotonic() + BLACKHOLE_S
            self._done["blackholes"] += 1

    def kill(self) -> None:
        """`kill -9` for one of several, when all the others have what it has."""
        if self._down is None and self._started_at is None and self._cluster:
            self._down = self._chance.choice(self._all)
            self._down.kill()
            self._started_at = time.monotonic() + DOWN_S
            self._done["brokers killed"] += 1

    def look(self) -> None:
        """Take back harm that has lasted long enough."""
        now = time.monotonic()
        if self._healed_at is not None and now >= self._healed_at:
            self._healed_at = None
            for broker in self._all:
                broker.proxy.heal()
        if self._down is not None and self._started_at is not None and now >= self._started_at:
            self._down.launch()
            self._down = None
        elif self._down is None and self._started_at is not None and self._whole():
            self._started_at = None

    def _whole(self) -> bool:
        """Whether every replica of every partition is in sync."""
        topics = self.client.admin().list_topics(timeout=10).topics.values()
        return all(len(it.isrs) == len(it.replicas) for topic in topics for it in topic.partitions.values())

    def heal(self) -> None:
        """Make all whole."""
        for broker in self._all:
            broker.heal()
        (self._cluster or self._all[0]).await_ready()
        self._healed_at = self._down = self._started_at = None


def run(name: str, corpus: Corpus, seconds: float, seed: int) -> Report:
    """Run a drill, judge it, and remove its folder unless something was wrong."""
    folder = fresh_folder(f"drill-{name}")
    try:
        report = _run(name, corpus, seconds, seed, folder)
    except BaseException as error:
        error.add_note(f"see {keep(folder)}")
        raise
    if report.judgement.violations:
        report.judgement.violations.append(f"see {keep(folder)}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return report


def _run(name: str, corpus: Corpus, seconds: float, seed: int, folder: Path) -> Report:
    drill = DRILLS[name]
    began = time.monotonic()
    chance = random.Random(seed)
    done = Counter[str]()
    with ExitStack() as stack:
        brokers = stack.enter_context(Brokers(drill.brokers, chance, done))
        ground = Ground(folder, brokers.client.bootstrap, brokers.proxied.bootstrap, drill.log)
        crew = Crew(ground, chance, done)
        traffic = Traffic(ground, corpus, seed)
        stack.callback(crew.end)
        stack.callback(traffic.end)
        assert traffic.load().acknowledged, "the load was not published"
        harm(drill, brokers, crew, traffic, chance, seconds)
        complaints = calm(brokers, crew, traffic)
        judgement = judge(ground, brokers.client, traffic.batches, compacted=drill.compacted)
    judgement.violations[:0] = complaints
    return Report(name, seed, done, counted(crew.heard()), judgement, time.monotonic() - began)


def harm(drill: Drill, brokers: Brokers, crew: Crew, traffic: Traffic, chance: random.Random, seconds: float) -> None:
    """Publish and do harm for so long, from the moment at which the first worker is at work.

    A slow machine gets longer, until everything that must occur has occurred.
    """
    crew.look()
    assert soon(lambda: crew.settling() or bool(crew.complaints), START_S), "no worker settles anything"
    traffic.start()
    deeds = {"broker": brokers.kill, "blackhole": brokers.blackhole}
    turns: list[str] = []
    began, due = time.monotonic(), 0.0
    while not crew.complaints:
        now = time.monotonic()
        if now >= due:
            if now >= began + (seconds if shown(crew) else LONGER * seconds):
                return
            turns = turns or chance.sample(drill.harm, len(drill.harm))
            deed = turns.pop()
            (deeds.get(deed) or getattr(crew, deed))()
            due = now + PACE_S * (0.5 + chance.random())
        brokers.look()
        crew.look()
        time.sleep(0.1)


def shown(crew: Crew) -> bool:
    counts = counted(crew.heard())
    return all(counts[what] for what in MUST_OCCUR)


def calm(brokers: Brokers, crew: Crew, traffic: Traffic) -> list[str]:
    """End all harm, let the workers catch up, and let them go; return what is to be complained about."""
    brokers.heal()
    traffic.end()
    if not soon(lambda: caught_up(brokers, crew) or bool(crew.complaints), CATCH_UP_S):
        crew.complaints.append(f"the workers do not catch up: {behind(brokers.client)}")
    crew.end()
    halts = [event for event in crew.heard() if event["event"] in ("stream.halted", "stream.paused", "change.dead")]
    return crew.complaints + [f"a worker said: {event}" for event in halts]


def caught_up(brokers: Brokers, crew: Crew) -> bool:
    crew.look()
    return not crew.asleep and not behind(brokers.client)


def keep(folder: Path) -> Path:
    """Move a folder to where nobody removes it."""
    kept = Path(folder.parent, f"kept-{folder.name}")
    return folder.rename(kept)
