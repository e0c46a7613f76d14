"""The fault matrix: what a faulty provider does, what came of it, and whether that is what must come of it.

A case publishes notes, some of them poison with an earlier good version, runs the worker as a user does, heals what
only a person can heal, and is then judged by the command line's answers and by the provider's own record.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from headwater.cli.application import app
from headwater.embedding.port import PROBE
from headwater.errors import Retry
from headwater.rehearsal.plan import Fault
from headwater.rehearsal.record import digest_of
from headwater.rehearsal.service import Why
from headwater.rehearsal.vectors import Model
from tests.integration.cli.process import Cli, until
from tests.provider.provider import Provider

Start = Callable[..., Provider]

KEY = "sk-hunter2"
NOTES = 150
#: These cannot be embedded; two of them are neighbours, so that they come in one call.
POISONS = (7, 8, 101)
BITTER = "arsenic"
#: The first requests ask what the model is; those of documents begin here.
FIRST = 2
#: Faults after which the vectors that were made are of no use.
WASTED = {
    Fault.TIMEOUT,
    Fault.CUT,
    Fault.INDEX_TWICE,
    Fault.ITEM_MISSING,
    Fault.WRONG_DIMENSION,
    Fault.NOT_FINITE,
}
CONFIG = """\
log: sqlite:///{folder}/log.db
streams:
  notes:
    index: sqlite:///{folder}/index.db
    recipe:
      embed: {{model: {shape}/fake-embedding, url: '{url}', key: '${{env:PROVIDER_KEY}}', timeout: 1s}}
"""


@dataclass(frozen=True)
class Case:
    """One row: what is wrong, as a plan says it; how the first run ends, and what it must say then. `seconds`: only for
    so long, with the worker at work. `killed`: the worker is, in the middle.
    """

    name: str
    behaviour: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    shape: str = "tei"
    code: int = 0
    says: str = ""
    timeout: str = "2m"
    seconds: float = 0.0
    killed: bool = False


def single(fault: Fault, share: float = 1.0, requests: int = 3, **more: Any) -> Case:
    """One fault alone: it strikes the first requests for documents, or a share of all; OpenAI's shape."""
    struck = {"shares": {fault: share}, "retry_s": 0.2}
    phase = {"from_request": FIRST, "until_request": FIRST + requests, "behaviour": struck}
    return Case(fault, plan={"phases": [phase]}, shape="openai", **more)


SINGLE = (
    single(Fault.REDIRECT, requests=2),
    single(Fault.HTML, requests=2),
    single(Fault.NO_MODEL, requests=2),
    single(Fault.BAD_KEY, requests=1000, code=4, says="the key is refused"),
    single(Fault.NO_QUOTA, requests=1000, code=4, says="no quota left"),
    single(Fault.STORM),
    single(Fault.UNAVAILABLE),
    single(Fault.SERVER_ERROR),
    single(Fault.BAD_GATEWAY),
    single(Fault.TIMEOUT, 0.3, 1000),
    single(Fault.CUT, 0.5, 1000),
    single(Fault.REORDERED, requests=1000),
    single(Fault.INDEX_TWICE, 0.5, 1000),
    single(Fault.ITEM_MISSING, 0.5, 1000),
    single(Fault.WRONG_DIMENSION, requests=1000, code=5, says="dimension-mismatch"),
    single(Fault.NOT_FINITE, 0.5, 1000),
    single(Fault.SCALED, requests=1000),
)
SILENT = (
    Case(
        "another model behind the name",
        plan={"phases": [{"from_request": FIRST + 2, "behaviour": {"drift": 1}}]},
        code=5,
        says="model-drift",
    ),
    Case(
        "long texts cut without a word",
        plan={"phases": [{"from_request": 1, "behaviour": {"truncate_tokens": 100, "truncation_hidden": True}}]},
        code=5,
        says="silent-truncation",
    ),
)
MIXED = (
    Case("two poisons in one call, 5xx", {"shares": {"server_error": 0.2}}, {"max_texts": 32}),
    Case(
        "poison under 429: 12 requests a second, and storms",
        {"shares": {"storm": 0.1}, "retry_s": 0.2},
        {"limits": [{"window_s": 1, "requests": 12}]},
    ),
    Case(
        "poison that nobody names, NaN, reordered",
        {"shares": {"not_finite": 0.15, "reordered": 0.5}, "poison_named": False},
        shape="openai",
    ),
    Case("time-outs and cut answers after the work was done", {"shares": {"timeout": 0.1, "cut": 0.15}}),
    Case(
        "500, 502, 503 and 429",
        {"shares": {"server_error": 0.08, "bad_gateway": 0.08, "unavailable": 0.08, "storm": 0.08}, "retry_s": 0.2},
    ),
    Case(
        "twice, missing, three times as long, reordered",
        {"shares": {"index_twice": 0.3, "item_missing": 0.2, "scaled": 0.5, "reordered": 0.5}},
        shape="openai",
    ),
    Case("overload: one request at a time, no queue", {"batch_ms": 30}, {"at_once": 1, "queue": 0}),
    Case(
        "a token budget, cut answers, NaN",
        {"shares": {"cut": 0.1, "not_finite": 0.1}},
        {"limits": [{"window_s": 2, "tokens": 1600}]},
    ),
    Case("a page and a redirect now and then", {"shares": {"html": 0.06, "redirect": 0.06}}),
    Case("a wrong model name for a while, 5xx", {"shares": {"server_error": 0.1}, "batch_ms": 100}, seconds=5.0),
    Case(
        "the deployment expired, and the run was given up",
        {},
        {"phases": [{"from_request": FIRST + 1, "behaviour": {"shares": {"no_model": 1}}}]},
        code=4,
        says="no such model",
        timeout="2s",
    ),
    Case("the worker is killed amid 5xx and cut answers", {"shares": {"server_error": 0.2, "cut": 0.2}}, killed=True),
)


@dataclass
class Outcome:
    """What came of a case. `wrong` is empty when it is what must come."""

    case: Case
    wrong: list[str]
    first_run: str
    requests: int
    struck: Counter[str]
    per_text: float

    def row(self) -> str:
        struck = ", ".join(f"{name} {count}" for name, count in sorted(self.struck.items())) or "all"
        end = "as it must be" if not self.wrong else "; ".join(self.wrong)
        return f"| {self.case.name} | {struck} | {self.first_run} | {self.requests} | {self.per_text:.2f} | {end} |"


HEAD = """\
| fault | requests struck | first run | requests | embedded per text | in the end |
| --- | --- | --- | --- | --- | --- |"""


class Play:
    """One case, played in a folder of its own."""

    def __init__(self, case: Case, folder: Path, start: Start) -> None:
        self.case = case
        behaviour = {"poison": [BITTER], **case.behaviour}
        plan = {"max_texts": 16} if case.shape == "tei" else {}
        self.provider = start(**{**plan, **case.plan, "behaviour": behaviour})
        self.cli = Cli(folder)
        self.cli.environment["PROVIDER_KEY"] = KEY
        self.config = folder / "headwater.yaml"
        url = self.provider.url + ("/v1" if case.shape == "openai" else "")
        self.config.write_text(CONFIG.format(folder=folder, shape=case.shape, url=url))
        self.good = {f"n{at}": f"note number {at} is about tea" for at in range(NOTES)}
        self.bitter = {f"n{at}": f"note number {at} is about {BITTER}" for at in POISONS}

    def play(self) -> Outcome:
        """Publish, run, heal what has to be healed, run again, and judge."""
        try:
            self._publish()
            said = self._work()
            self.provider.behave(shares={})
            return self._judged(said)
        finally:
            self.cli.close()

    def read(self, *arguments: str) -> str:
        """Call `headwater` for its answer."""
        runner, line = CliRunner(), ["-c", str(self.config), *arguments]
        done = runner.invoke(app, line, env={"PROVIDER_KEY": KEY})
        while isinstance(done.exception, Retry):  # a limit of the account, which holds for searches too
            time.sleep(0.3)
            done = runner.invoke(app, line, env={"PROVIDER_KEY": KEY})
        assert not done.exception or isinstance(done.exception, SystemExit), done.exception
        return str(done.stdout)

    def _publish(self) -> None:
        """Each poison has an earlier version that can be embedded."""
        changes = [{"id": it, "text": text} for it, text in {**self.good, **self.bitter}.items()]
        changes[0:0] = [{"id": it, "text": self.good[it]} for it in self.bitter]
        self.cli("publish", "notes", stdin="".join(json.dumps(it) + "\n" for it in changes))

    def _work(self) -> str:
        case = self.case
        if case.killed:
            worker = self.cli.start("run")
            until(lambda: len(self.provider.record.entries) > FIRST + 6)
            worker.kill()
            worker.wait()
        if case.seconds:
            worker = self.cli.start("run", "--once", "--timeout", case.timeout)
            until(lambda: len(self.provider.record.entries) > FIRST + 3)
            self.provider.behave(shares={"no_model": 1})
            time.sleep(case.seconds)
            self.provider.behave()
            worker.communicate(timeout=120)
            assert worker.returncode == 0
        said = self.cli("run", "--once", "--timeout", case.timeout, code=case.code).stderr
        if case.code:
            self.provider.behave(shares={})
            assert self._dead() == {}, "nothing is dead while something is wrong with the service"
            self.cli("run", "--once", "--timeout", case.timeout)
        return said

    def _dead(self) -> dict[str, str]:
        return {it["id"]: it["reason"] for it in json.loads(self.read("dead", "list", "notes", "--json"))["dead"]}

    # --- the judge

    def _judged(self, said: str) -> Outcome:
        case, record = self.case, self.provider.record
        digests = {digest_of(text) for text in (*self.good.values(), *self.bitter.values())}
        useful = Counter(
            digest
            for entry in record.entries
            if entry.embedded and not WASTED & set(entry.faults)
            for digest in entry.digests
        )
        embedded = {digest: times for digest, times in record.embedded().items() if digest in digests}
        wrong: list[str] = []

        def must(holds: object, otherwise: str) -> None:
            if not holds:
                wrong.append(otherwise)

        must(case.says in said, f"the first run does not say «{case.says}»")
        must(KEY not in said and "Traceback" not in said, "the run says what it must not")
        must(json.loads(self.read("verify", "notes", "--json"))["ok"], "verify finds something")
        dead = self._dead()
        must(set(dead) == set(self.bitter), f"dead are {sorted(dead)}")
        must(all("cannot be " in reason for reason in dead.values()), "dead letters without the service's words")
        self._vectors(must)
        for it in ("n0", "n8", f"n{NOTES - 1}"):
            hits = json.loads(self.read("search", "notes", self.good[it], "-k", "1", "--json"))["hits"]
            must([hit["id"] for hit in hits] == [it], f"{it} is not found")
        stream = json.loads(self.read("status", "--json"))["streams"]["notes"]
        must(stream["lag"]["records"] == 0, "status says that something is left")
        must(stream["dead_letters"]["open"] == len(POISONS), "status counts other dead letters")
        must(not any(useful[digest_of(text)] for text in self.bitter.values()), "a poison was embedded")
        # What was lost with the killed worker may be asked for again.
        most = 1 + case.killed + bool(case.code)
        must(max(useful[digest] for digest in digests) <= most, "a text was embedded again without need")
        alone = {entry.digests for entry in record.entries if entry.refused == "poison"}
        probe = digest_of(PROBE)
        for text in self.bitter.values():
            must(any(set(it) - {probe} == {digest_of(text)} for it in alone), "a poison was not asked for alone")
        struck = record.faults() + Counter(
            entry.refused
            for entry in record.entries
            if entry.refused in (Why.RATE_LIMITED, Why.OVERLOADED) and not entry.faults
        )
        ended = f"exit {case.code}" if case.code else ("killed" if case.killed else "exit 0")
        per_text = sum(embedded.values()) / max(1, len(embedded))
        return Outcome(case, wrong, ended, len(record.entries), struck, per_text)

    def _vectors(self, must: Callable[[object, str], None]) -> None:
        """Each note's vector is the one that the provider has for its text: no other model's, text's or length's."""
        lines = self.read("export", "notes", "--vectors").splitlines()
        chunks = {it["id"]: it["chunks"] for it in map(json.loads, lines)}
        must(set(chunks) == set(self.good), f"{len(chunks)} of {NOTES} notes are in the index")
        texts = [chunk["text"] for them in chunks.values() for chunk in them]
        must(sorted(texts) == sorted(self.good.values()), "the index has other texts")
        truly = asyncio.run(Model(self.provider.record.plan).embed(texts, 0.0))
        found = np.asarray([chunk["vector"] for them in chunks.values() for chunk in them], np.float32)
        must(found.shape == truly.shape and np.allclose(found, truly, atol=1e-6), "a vector is not its text's")
