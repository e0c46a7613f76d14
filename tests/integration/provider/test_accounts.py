"""Accounts as a user writes them: budgets, limits that the service does not say, what is too long, and the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from headwater.rehearsal.plan import WindowKind
from headwater.rehearsal.record import digest_of
from tests.integration.cli.process import Cli
from tests.provider.provider import Provider

Start = Callable[..., Provider]
CONFIG = """\
{more}
streams:
  notes:
    recipe:
      chunk: {{size: {size}}}
      embed: {{model: openai/fake-embedding, url: '{url}/v1', key: k{embed}}}
{streams}
"""


class Notes:
    """One stream of notes, and what the configuration says beside it."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.cli = Cli(folder)
        self.provider = provider

    def write(self, more: str = "", embed: str = "", streams: str = "", size: int = 800) -> None:
        text = CONFIG.format(more=more, embed=embed, streams=streams, url=self.provider.url, size=size)
        self.cli.write("headwater.yaml", text)

    def publish(self, texts: dict[str, str | None], stream: str = "notes") -> None:
        lines = [{"id": name, "text": text} if text else {"id": name, "op": "delete"} for name, text in texts.items()]
        self.cli("publish", stream, stdin="".join(json.dumps(line) + "\n" for line in lines))

    def status(self, stream: str = "notes") -> dict[str, object]:
        return dict(self.cli.json("status", "--json")["streams"][stream])

    def verified(self, stream: str = "notes") -> bool:
        return bool(self.cli.json("verify", stream, "--json")["ok"])


def test_a_budget_that_is_spent_stops_embedding_and_nothing_else(tmp_path: Path, provider: Start) -> None:
    notes = Notes(tmp_path, provider())
    account = "accounts: {{mine: {{price: 1000, budget: {{soft: 0.05, hard: {hard}, per: day}}}}}}"
    notes.write(account.format(hard=5), ", account: mine")
    notes.publish({f"n{at}": f"note {at} about a budget" for at in range(8)})
    notes.cli("run", "--once")
    spent = notes.status()["cost"]
    assert isinstance(spent, dict)
    assert spent["usd"] >= 0.06

    notes.write(account.format(hard=0.06), ", account: mine")
    notes.publish({**{f"m{at}": f"another {at} about tea" for at in range(50)}, "n0": None})
    requests = len(notes.provider.record.entries)
    said = notes.cli("run", "--once", "--timeout", "3s", code=4).stderr
    assert "the budget of 0.06 USD a day is spent" in said
    assert "budget.reached" in said
    assert len(notes.provider.record.entries) - requests <= 2  # the witness, before anybody had looked at the ledger
    assert notes.cli.json("dead", "list", "notes", "--json")["dead"] == []
    found = [it["id"] for it in notes.cli.json("search", "notes", "budget", "-k", "50", "--json")["hits"]]
    assert sorted(found) == [f"n{at}" for at in range(1, 8)]  # removals went on

    notes.write(account.format(hard=50), ", account: mine")
    notes.cli("run", "--once")
    assert notes.verified()
    assert notes.status()["lag"] == {"records": 0, "oldest_age_s": None}


def test_a_limit_that_only_the_configuration_says_is_never_passed(tmp_path: Path, provider: Start) -> None:
    limit = {"tokens": 400, "window_s": 1.0}
    service = provider(limits=[limit], rate_limit_headers="none", retry_after="none")
    notes = Notes(tmp_path, service)
    notes.write("accounts: {mine: {tokens: 400, per: 1s}}", ", account: mine")
    notes.publish({f"n{at}": f"note number {at} about a limit that is known to us alone" for at in range(120)})
    notes.cli("run", "--once")
    record = service.record
    assert record.most("tokens", 1_000_000, WindowKind.SLIDING, refused_too=True) <= 400
    assert set(record.statuses()) == {200}
    assert notes.verified()


def test_what_is_too_long_is_dead_or_split_or_refused(tmp_path: Path, provider: Start) -> None:
    notes = Notes(tmp_path, provider(max_text_tokens=50, auto_truncate=False))
    texts: dict[str, str | None] = {"short": "a short note", "long": "many words and more of them " * 12}
    notes.write(size=2000)
    notes.publish(texts)
    notes.cli("run", "--once")
    (dead,) = notes.cli.json("dead", "list", "notes", "--json")["dead"]
    assert dead["id"] == "long"

    notes.write(embed=", too_long: refuse", size=2000)
    notes.cli("dead", "retry", "notes", "long")
    assert "text-too-long" in notes.cli("run", "--once", code=5).stderr

    notes.write(embed=", too_long: split", size=2000)
    notes.cli("run", "--once")
    found = [it["id"] for it in notes.cli.json("search", "notes", "words", "-k", "9", "--json")["hits"]]
    assert sorted(found) == ["long", "short"]
    assert notes.verified()


def test_what_was_paid_for_is_not_paid_for_again_by_another_stream(tmp_path: Path, provider: Start) -> None:
    service = provider()
    notes = Notes(tmp_path, service)
    other = f"  copies: {{recipe: {{embed: {{model: openai/fake-embedding, url: '{service.url}/v1', key: k}}}}}}"
    notes.write("cache: {url: sqlite:///cache.db, tenant: acme}", streams=other)
    texts: dict[str, str | None] = {f"n{at}": f"note {at} that is paid for once" for at in range(20)}
    notes.publish(texts)
    notes.cli("run", "--once")
    notes.publish(texts, "copies")
    notes.cli("run", "--once")
    paid = notes.status("copies")["embedding"]
    assert isinstance(paid, dict)
    assert (paid["texts"], paid["reused"]) == (0, 20)
    assert notes.verified("copies")
    assert b"paid for once" not in (tmp_path / "cache.db").read_bytes()


def test_what_is_deleted_leaves_the_cache_too(tmp_path: Path, provider: Start) -> None:
    service = provider()
    notes = Notes(tmp_path, service)
    other = f"  copies: {{recipe: {{embed: {{model: openai/fake-embedding, url: '{service.url}/v1', key: k}}}}}}"
    notes.write("cache: {url: sqlite:///cache.db}", streams=other)
    texts: dict[str, str | None] = {"gone": "a note that is deleted", "kept": "a note that stays"}
    notes.publish(texts)
    notes.cli("run", "--once")
    before = service.record.embedded()
    notes.publish({"gone": None})
    notes.cli("run", "--once")
    notes.publish(texts, "copies")
    notes.cli("run", "--once")
    after = service.record.embedded()
    paid_again = {name: after[digest_of(text)] - before[digest_of(text)] for name, text in texts.items() if text}
    assert paid_again == {"gone": 1, "kept": 0}
    assert notes.verified("copies")
