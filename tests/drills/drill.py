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
from tests.drills.brokers import Brokers
from tests.drills.crew import Crew
from tests.drills.ground import SESSION_S, Ground
from tests.drills.judge import Judgement, behind, judge
from tests.drills.traffic import Traffic
from tests.kafka.process import fresh_folder, soon

#: Between two harms.
PACE_S = 2.0
START_S = 60.0
CATCH_UP_S = 90.0
LONGER = 8.0
IDLE_S = 4.0

SESSION = {"session_timeout": f"{SESSION_S:.0f}s"}
#: Without each of these a drill has shown little.
MUST_OCCUR = ("rebalances", "fenced settlements", "stale applies")
COUNTED = (*MUST_OCCUR, "conflicts", "timed-out applies", "outages")
WORKERS = ("haunt", "kill", "haunt", "freeze", "haunt", "leave", "join")


@dataclass(frozen=True)
class Drill:
    """One drill: how many brokers, the configuration's log, and the harm, in turns of a random order."""

    brokers: int = 1
    log: Mapping[str, object] = field(default_factory=lambda: SESSION)
    harm: tuple[str, ...] = WORKERS
    compacted: bool = False
    tiered: bool = False
    must_occur: tuple[str, ...] = MUST_OCCUR


#: What lets a segment end, and its records be compacted or moved away, while a drill waits.
SOON = {"segment.ms": "1000"}
COMPACTED = {**SOON, "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "1500"}
REMOTE = {**SOON, "remote.storage.enable": "true", "local.retention.ms": "1000", "local.retention.bytes": "1"}

DRILLS = {
    "workers": Drill(),
    "consumer": Drill(log={"rebalance": "consumer"}),
    "plain": Drill(log={**SESSION, "receipts": "plain"}),
    "brokers": Drill(
        brokers=3, log={**SESSION, "replication": 3}, harm=("broker", "haunt", "blackhole", "kill", "haunt")
    ),
    "compact": Drill(
        log={**SESSION, "cleanup": "compact"}, compacted=True, must_occur=(*MUST_OCCUR, "records compacted away")
    ),
    "tiered": Drill(tiered=True),
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
        return [what for what in DRILLS[self.name].must_occur if not self.counts[what]]

    def __str__(self) -> str:
        done, counts, found = self.done, self.counts, self.judgement
        return (
            f"drill {self.name}, seed {self.seed}, {self.seconds:.0f} s: "
            + ", ".join(f"{count} {what}" for what, count in sorted(done.items()))
            + "; "
            + ", ".join(f"{counts[what]} {what}" for what in COUNTED)
            + f"; {found.records} records, {found.receipts} receipts, {found.repeats} settled twice, "
            f"{found.doubtful} doubtful ones there, {found.gone} gone; {len(found.violations)} violations"
        )


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
        brokers = stack.enter_context(Brokers(drill.brokers, chance, done, tiered=drill.tiered))
        ground = Ground(folder, brokers.client.bootstrap, brokers.proxied.bootstrap, drill.log)
        crew = Crew(ground, chance, done)
        traffic = Traffic(ground, corpus, seed)
        stack.callback(crew.end)
        stack.callback(traffic.end)
        assert traffic.load().acknowledged, "the load was not published"
        if drill.compacted:
            brokers.set(COMPACTED)
        if drill.tiered:
            move_away(brokers, ground, traffic)
        harm(drill, brokers, crew, traffic, chance, seconds)
        complaints = calm(brokers, crew, traffic)
        indexes = 2 if drill.tiered else 1
        judgement = judge(ground, brokers.client, traffic.batches, compacted=drill.compacted, indexes=indexes)
    judgement.violations[:0] = complaints
    counts = counted(crew.heard())
    counts["records compacted away"] = judgement.gone
    return Report(name, seed, done, counts, judgement, time.monotonic() - began)


def move_away(brokers: Brokers, ground: Ground, traffic: Traffic) -> None:
    """Let the first records be nowhere but in the remote store, and begin a new index although all is settled."""
    ended, said = ground.headwater("run", "--once")
    assert ended, said
    brokers.set(REMOTE)
    until = time.monotonic() + START_S
    while brokers.first_segments():
        assert time.monotonic() < until, f"not moved away: {brokers.first_segments()}"
        traffic.publish(traffic.slice())  # a segment ends with the next record
    ground.use_index("second.db")


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
        crew.abort()
    crew.end()
    halts = [event for event in crew.heard() if event["event"] in ("stream.halted", "stream.paused", "change.dead")]
    return crew.complaints + [f"a worker said: {event}" for event in halts]


def caught_up(brokers: Brokers, crew: Crew) -> bool:
    # An index that is built anew may be behind although all is committed: then something is being settled.
    crew.look()
    return not crew.asleep and crew.idle_s > IDLE_S and not behind(brokers.client)


def keep(folder: Path) -> Path:
    """Move a folder to where nobody removes it."""
    kept = Path(folder.parent, f"kept-{folder.name}")
    return folder.rename(kept)
