"""`headwater prefetch` against the faulty provider: half the price, nothing bought twice, nothing kept of what goes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from headwater.rehearsal.record import digest_of
from tests.integration.cli.process import Cli, until
from tests.provider.provider import Provider

Start = Callable[..., Provider]
CONFIG = """\
accounts: {{mine: {{price: 1000, budget: {{hard: {hard}}}}}}}
cache: {{url: 'sqlite:///cache.db'}}
streams:
  notes:
    {source}recipe: {{embed: {{model: openai/fake-embedding, url: '{url}/v1', key: k, account: mine}}}}
"""
TEXTS = {f"n{at}": f"note number {at} about tea" for at in range(40)}


class Notes:
    """A stream whose service has a batch interface."""

    def __init__(self, folder: Path, provider: Provider, *, hard: float = 1000, source: str = "") -> None:
        self.cli = Cli(folder)
        self.provider = provider
        self.cache = folder / "cache.db"
        self.cli.write("headwater.yaml", CONFIG.format(url=provider.url, hard=hard, source=source))

    def publish(self, texts: dict[str, Any]) -> None:
        lines = [{"id": name, "text": text} if text else {"id": name, "op": "delete"} for name, text in texts.items()]
        self.cli("publish", "notes", stdin="".join(json.dumps(line) + "\n" for line in lines))

    def prefetch(self, *options: str, code: int = 0) -> dict[str, Any]:
        found = self.cli.json("prefetch", "notes", "--every", "0.1s", "--json", *options, code=code)
        assert isinstance(found, dict)
        return found

    def bought(self, texts: dict[str, Any]) -> list[int]:
        """How often the service embedded each of these texts."""
        embedded = self.provider.record.embedded()
        return [embedded[digest_of(text)] for text in texts.values()]

    def bought_once(self, texts: dict[str, Any], jobs: int = 1) -> bool:
        """Whether each was bought, and none twice but one of each job: by that one the model is compared."""
        bought = self.bought(texts)
        return min(bought) == 1 and sum(bought) <= len(bought) + jobs

    def held(self) -> int:
        with closing(sqlite3.connect(self.cache)) as connection:
            return int(connection.execute("SELECT count(*) FROM cache_held").fetchone()[0])

    def jobs_texts(self) -> int:
        """How many files the service keeps for us."""
        with httpx2.Client(trust_env=False) as client:
            return len(
                client.get(f"{self.provider.url}/v1/files", headers={"Authorization": "Bearer k"}).json()["data"]
            )


@pytest.fixture
def start(tmp_path: Path, provider: Start) -> Iterator[Callable[..., Notes]]:
    with ExitStack() as made:

        def start(hard: float = 1000, source: str = "", **plan: Any) -> Notes:
            notes = Notes(tmp_path, provider(**plan), hard=hard, source=source)
            made.callback(notes.cli.close)
            return notes

        yield start


def test_what_is_bought_ahead_costs_half_and_the_worker_asks_for_nothing(start: Callable[..., Notes]) -> None:
    notes = start()
    notes.publish(TEXTS)
    planned = notes.prefetch("--dry-run")
    assert (planned["texts"], planned["left"], planned["held"]) == (40, 40, 0)
    assert notes.bought(TEXTS) == [0] * 40
    found = notes.prefetch()
    assert (found["held"], found["texts"], notes.held()) == (40, 0, 40)
    assert found["usd"] == pytest.approx(found["tokens"] * 500 / 1e6)
    assert notes.jobs_texts() == 0
    notes.cli("run", "--once")
    assert notes.bought_once(TEXTS)
    assert notes.held() == 0
    status = notes.cli.json("status", "--json")["streams"]["notes"]
    assert status["embedding"]["batch_tokens"] == found["tokens"]
    assert status["cost"]["batch_usd"] == status["cost"]["usd"] == pytest.approx(found["usd"])
    assert notes.cli.json("verify", "notes", "--json")["ok"]


def test_a_folder_is_looked_through_first(start: Callable[..., Notes]) -> None:
    notes = start(source="source: {folder: ./docs}\n    ")
    notes.cli.write("docs/a.md", "# A\n\nabout tea")
    notes.cli.write("docs/b.md", "# B\n\nabout coffee")
    assert notes.prefetch()["held"] == 2
    notes.cli("run", "--once")
    assert notes.cli.json("status", "--json")["streams"]["notes"]["embedding"]["texts"] == 0


def test_killed_at_any_time_it_goes_on_and_buys_nothing_twice(start: Callable[..., Notes]) -> None:
    notes = start(batch={"seconds": 2})
    notes.publish(TEXTS)
    for wait_s in (0.5, 0.8, 1.1):
        process = notes.cli.start("prefetch", "notes", "--every", "0.1s")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(wait_s)
        process.kill()
        process.wait()
    assert notes.prefetch()["texts"] == 0
    assert notes.bought_once(TEXTS)
    notes.cli("run", "--once")
    assert notes.bought_once(TEXTS)
    assert (notes.held(), notes.jobs_texts()) == (0, 0)


def test_of_a_document_that_goes_before_the_worker_saw_it_nothing_stays(start: Callable[..., Notes]) -> None:
    notes = start()
    notes.publish({"gone": "a secret that is taken back", "kept": "it stays"})
    notes.prefetch()
    (vector,) = _sealed(notes.cache, "a secret that is taken back")
    notes.publish({"gone": None})
    notes.cli("run", "--once")
    assert notes.held() == 0
    for file in notes.cache.parent.glob("cache.db*"):
        assert vector not in file.read_bytes(), file.name


def _sealed(cache: Path, text: str) -> list[bytes]:
    with closing(sqlite3.connect(cache)) as connection:
        rows = connection.execute("SELECT sealed FROM cache_held WHERE digest = ?", (sha256(text.encode()).digest(),))
        return [bytes(row[0])[-64:] for row in rows]


def test_a_poison_is_left_to_the_worker_which_blames_it_alone(start: Callable[..., Notes]) -> None:
    notes = start(behaviour={"poison": ["arsenic"]})
    notes.publish({**TEXTS, "bad": "arsenic in old lace"})
    found = notes.prefetch()
    assert (found["held"], found["refused"]) == (40, 1)
    notes.cli("run", "--once")
    (dead,) = notes.cli.json("dead", "list", "notes", "--json")["dead"]
    assert dead["id"] == "bad"
    assert notes.bought_once(TEXTS)


def test_a_queue_without_room_and_jobs_that_expire_take_longer_and_lose_nothing(start: Callable[..., Notes]) -> None:
    notes = start(batch={"seconds": 0.2, "queue_tokens": 120, "answered": 0.5})
    notes.publish(TEXTS)
    found = notes.prefetch()
    assert found["held"] + found["refused"] == 40
    assert found["refused"] <= 1  # half of a job of one text is none
    notes.cli("run", "--once")
    assert notes.bought_once(TEXTS, jobs=20)


def test_a_budget_is_not_passed(start: Callable[..., Notes]) -> None:
    notes = start(hard=0.05)
    notes.publish(TEXTS)
    found = notes.prefetch(code=1)
    assert found["left"] == 40
    assert notes.bought(TEXTS) == [0] * 40


def test_what_is_held_and_in_no_ledger_yet_counts_for_the_budget(start: Callable[..., Notes]) -> None:
    notes = start(hard=0.3)  # either half is estimated at 0.27, and costs 0.06
    first, second = dict(list(TEXTS.items())[:20]), dict(list(TEXTS.items())[20:])
    notes.publish(first)
    assert notes.prefetch()["held"] == 20
    notes.publish(second)
    assert notes.prefetch(code=1)["left"] == 20
    assert notes.bought(second) == [0] * 20


def test_one_at_a_time(start: Callable[..., Notes]) -> None:
    notes = start(batch={"seconds": 60})
    notes.publish(TEXTS)
    notes.cli.start("prefetch", "notes", "--every", "0.1s")
    until(lambda: notes.jobs_texts() == 1)
    assert "in use by" in notes.cli("prefetch", "notes", code=4).stderr


def test_mistakes_are_told_with_the_way_on(start: Callable[..., Notes], tmp_path: Path) -> None:
    notes = start()
    config = (tmp_path / "headwater.yaml").read_text()
    assert "--every takes" in notes.cli("prefetch", "notes", "--every", "soon", code=2).stderr
    assert "there is no stream" in notes.cli("prefetch", "nots", code=2).stderr
    notes.cli.write("headwater.yaml", config.replace("cache: {url: 'sqlite:///cache.db'}\n", ""))
    assert "cache: expected a place for vectors" in notes.cli("prefetch", "notes", code=3).stderr
    local = "cache: {url: 'sqlite:///cache.db'}\nstreams: {notes: {recipe: {embed: {model: hash}}}}"
    notes.cli.write("headwater.yaml", local)
    notes.publish({"a": "a note"})
    assert "no batch interface" in notes.cli("prefetch", "notes", code=4).stderr
